/** Where a guest program is, before a worker is started for it. */

import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { IommuError } from '@viommu/common';

/**
 * The URL of a guest program given as a path, relative to the working directory, or as a URL.
 *
 * @throws {IommuError} `ENOENT` if there is no such file, `EINVAL` if it is none.
 */
export async function locateProgram(program: URL | string): Promise<URL> {
  const url = typeof program === 'string' ? urlOf(program) : program;
  if (url.protocol !== 'file:') return url;
  const path = fileURLToPath(url);
  let file: boolean;
  try {
    file = (await stat(path)).isFile();
  } catch (error) {
    throw new IommuError('ENOENT', `There is no guest program ${path}.`, { cause: error });
  }
  if (!file) throw new IommuError('EINVAL', `The guest program ${path} is not a file.`);
  return url;
}

function urlOf(text: string): URL {
  // A letter and a colon are a drive.
  return /^[a-z][a-z0-9+.-]+:/i.test(text) ? new URL(text) : pathToFileURL(resolve(text));
}
