/** Errors on their way from a worker to its creator: structured cloning keeps neither a code nor most names. */

import { ERROR_CODES, type ErrorCode, IommuError } from '@viommu/common';

/** An error as plain data. */
export interface FailureData {
  readonly name: string;
  readonly message: string;
  readonly code: string | undefined;
  readonly stack: string | undefined;
  readonly cause: FailureData | undefined;
}

/** Causes of causes beyond this are left out. */
const CAUSES_MAX = 8;
const TEXT_MAX = 16_384;

/** Takes whatever was thrown apart; never throws itself. */
export function takeApart(thrown: unknown, depth: number = 0): FailureData {
  try {
    if (!(thrown instanceof Error))
      return {
        name: 'Error',
        message: clip(String(thrown)),
        code: undefined,
        stack: undefined,
        cause: undefined,
      };
    const { code } = thrown as { code?: unknown }; // Node's errors and ours have one.
    return {
      name: clip(String(thrown.name)),
      message: clip(String(thrown.message)),
      code: typeof code === 'string' ? code : undefined,
      stack: typeof thrown.stack === 'string' ? clip(thrown.stack) : undefined,
      cause:
        thrown.cause === undefined || depth >= CAUSES_MAX
          ? undefined
          : takeApart(thrown.cause, depth + 1),
    };
  } catch {
    const message = 'something that cannot be shown was thrown';
    return { name: 'Error', message, code: undefined, stack: undefined, cause: undefined };
  }
}

/** The error again: an `IommuError` if it was one, with the stack it had in its worker. */
export function putTogether(data: FailureData): Error {
  const cause = data.cause === undefined ? {} : { cause: putTogether(data.cause) };
  const error =
    data.name === 'IommuError' && isErrorCode(data.code)
      ? new IommuError(data.code, data.message, cause)
      : new Error(data.message, cause);
  if (error.name !== data.name) Object.defineProperty(error, 'name', { value: data.name });
  if (!(error instanceof IommuError) && data.code !== undefined)
    Object.assign(error, { code: data.code });
  if (data.stack !== undefined) error.stack = data.stack;
  return error;
}

/** One error of ours around whatever was thrown: with its code if it was one of ours, else with `fallback`. */
export function wrapFailure(prefix: string, thrown: unknown, fallback: ErrorCode): IommuError {
  const code = thrown instanceof IommuError ? thrown.code : fallback;
  const { name, message } = takeApart(thrown);
  return new IommuError(code, `${prefix}: ${message === '' ? name : message}`, { cause: thrown });
}

function isErrorCode(code: string | undefined): code is ErrorCode {
  return code !== undefined && Object.hasOwn(ERROR_CODES, code);
}

function clip(text: string): string {
  return text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text;
}
