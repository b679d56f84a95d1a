import { describe, expect, it } from 'vitest';
import { filesLike, matches, textFiles } from './tree.ts';

/** A folder that exists on somebody's machine and nowhere else. */
const MACHINE_PATH =
  /(?<![\w.@-])(?:\/(?:home|root|work|Users|private|mnt|tmp)\/[\w.-]|[A-Z]:\\Users\\)/;

/** A place to download packages from, which is each user's own choice. */
const REGISTRY = /\bregistry\.[\w-]+\.[a-z]{2,}|\b(?:npmmirror|verdaccio|artifactory|jfrog)\b/i;

const address = (host: string): string => `https://${host}/`;

// This file shows what it looks for.
const others = textFiles().filter(({ path }) => path !== 'test/tidy/machine.test.ts');

describe('files', () => {
  it('name no path of one machine', () => {
    expect(others.flatMap((file) => matches(file, MACHINE_PATH))).toEqual([]);
  });

  it('name no package registry, and the lockfile no address at all', () => {
    expect(others.flatMap((file) => matches(file, REGISTRY))).toEqual([]);
    const [lockfile] = filesLike(/^pnpm-lock\.yaml$/);
    expect(lockfile && matches(lockfile, /https?:\/\/|tarball:/)).toEqual([]);
  });

  it.each(['cd /home/me/viommu', "'/root/x'", '(/tmp/out)', '/Users/me', 'C:\\Users\\me'])(
    'the rule on paths finds %s',
    (text) => {
      expect(matches({ path: 'a', text }, MACHINE_PATH)).toHaveLength(1);
    },
  );

  it('the rule on paths allows paths of the project and addresses', () => {
    const text = `./home/x packages/work/a ${address('example.com/home')} /dev/null a/tmp/b`;
    expect(matches({ path: 'a', text }, MACHINE_PATH)).toEqual([]);
  });

  it.each([address('registry.npmjs.org'), 'registry=//registry.example.com', 'verdaccio'])(
    'the rule on registries finds %s',
    (text) => {
      expect(matches({ path: 'a', text }, REGISTRY)).toHaveLength(1);
    },
  );
});
