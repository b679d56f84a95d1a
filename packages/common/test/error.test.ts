import { AssertionError, ERROR_CODES, IommuError, assert } from '@viommu/common';
import { describe, expect, it } from 'vitest';

describe('IommuError', () => {
  it('carries a code, a message and a cause', () => {
    const cause = new Error('below');
    const error = new IommuError('EIO', 'The device stopped.', { cause });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: 'IommuError', code: 'EIO', cause });
    expect(String(error)).toBe('IommuError: The device stopped.');
    expect('cause' in new IommuError('EIO', 'Alone.')).toBe(false);
  });

  it('has codes with one sentence each', () => {
    for (const [code, meaning] of Object.entries(ERROR_CODES)) {
      expect(code).toMatch(/^E[A-Z_]+$/);
      expect(meaning).toMatch(/^[A-Z][^.]*\.$/);
    }
    expect(Object.keys(ERROR_CODES)).toEqual(Object.keys(ERROR_CODES).toSorted());
  });
});

describe('assert', () => {
  it('passes what holds', () => {
    expect(() => assert(true, 'never')).not.toThrow();
  });

  it.each([false, 0, undefined])('stops at %s with an error that is no IommuError', (condition) => {
    const fail = (): unknown => assert(condition, 'the list is sorted');
    expect(fail).toThrow(AssertionError);
    expect(fail).not.toThrow(IommuError);
    expect(fail).toThrow('the list is sorted');
  });
});
