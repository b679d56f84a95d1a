/**
 * Why a command ends early. Every failure becomes exactly one line on standard error, and an exit code:
 * 1 when what was checked falls short or the machine failed, 2 on wrong usage and damaged input.
 */

/** What a command ends with. A command that a signal ended has 128 and the signal's number, 130 for Ctrl-C. */
export const ExitCode = { OK: 0, FAILED: 1, USAGE: 2 } as const;

/** Ends the command with one line, `viommu: ` and the message. */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly exitCode: number;

  constructor(exitCode: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

/** The command line is wrong; the message says what to do instead. */
export function usageFailure(message: string): Failure {
  return new Failure(ExitCode.USAGE, message);
}

/** Input that cannot be used, at a line of it or, with no line, as a whole. */
export function inputFailure(file: string, line: number | undefined, reason: string): Failure {
  const place = line === undefined ? file : `${file}:${line}`;
  return new Failure(ExitCode.USAGE, `${place}: ${reason}`);
}

/** Any error as the one line to print; strangers' text may hold line ends and terminal codes. */
export function oneLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return `viommu: ${printable(text === '' ? 'failed without a message' : text)}`;
}

/** Text of a stranger on one line: line ends become spaces, and other control characters are escaped. */
export function printable(text: string): string {
  return text.replaceAll(/\s*[\r\n\u2028\u2029]+\s*/g, ' ').replaceAll(CONTROL, escape);
}

// eslint-disable-next-line no-control-regex -- these are what is looked for
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/g;

function escape(character: string): string {
  return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
}
