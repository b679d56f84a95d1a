import { IommuError } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { putTogether, takeApart, wrapFailure } from '../src/failure.ts';

/** An error after its way from one thread to another. */
function sent(thrown: unknown): Error {
  return putTogether(structuredClone(takeApart(thrown)));
}

describe('an error between threads', () => {
  it('keeps its class, code, message, stack and causes if it is ours', () => {
    const cause = new TypeError('inner', { cause: new IommuError('ENOSPC', 'innermost') });
    const error = new IommuError('ENOENT', 'outer', { cause });
    const back = sent(error);
    expect(back).toBeInstanceOf(IommuError);
    expect(back).toMatchObject({ code: 'ENOENT', message: 'outer', stack: error.stack });
    expect(back.cause).toMatchObject({ name: 'TypeError', message: 'inner', stack: cause.stack });
    expect((back.cause as Error).cause).toMatchObject({ code: 'ENOSPC', message: 'innermost' });
  });

  it("keeps the code of Node's errors", () => {
    const error = Object.assign(new Error('no such file'), { code: 'ENOENT' });
    const back = sent(error);
    expect(back).not.toBeInstanceOf(IommuError);
    expect(back).toMatchObject({ code: 'ENOENT', message: 'no such file' });
  });

  it('is none of ours if only its name is', () => {
    const error = Object.assign(new Error('x'), { name: 'IommuError', code: 'EMADEUP' });
    expect(sent(error)).not.toBeInstanceOf(IommuError);
  });

  it.each([
    ['a string', 'oops', 'oops'],
    ['nothing', undefined, 'undefined'],
    [
      'an object without a prototype',
      Object.create(null),
      'something that cannot be shown was thrown',
    ],
    [
      'an error that fights back',
      Object.defineProperty(new Error('x'), 'message', {
        get() {
          throw new Error('never');
        },
      }),
      'something that cannot be shown was thrown',
    ],
  ])('survives that %s was thrown', (_, thrown, message) => {
    expect(sent(thrown)).toMatchObject({ message });
  });

  it('has an end, also if its causes go in circles or its text goes on and on', () => {
    const error: Error = new Error('x'.repeat(1_000_000));
    error.cause = error;
    let depth = 0;
    for (let at: unknown = sent(error); at instanceof Error; at = at.cause) depth += 1;
    expect(depth).toBeLessThan(20);
    expect(sent(error).message.length).toBeLessThan(20_000);
  });
});

describe('an error around another', () => {
  it('has the code of ours, and a fallback for others', () => {
    const ours = wrapFailure('It failed', new IommuError('ENODEV', 'no device'), 'ESHUTDOWN');
    expect(ours).toMatchObject({ code: 'ENODEV', message: 'It failed: no device' });
    const other = wrapFailure('It failed', new RangeError(''), 'ESHUTDOWN');
    expect(other).toMatchObject({ code: 'ESHUTDOWN', message: 'It failed: RangeError' });
    expect(other.cause).toBeInstanceOf(RangeError);
  });
});
