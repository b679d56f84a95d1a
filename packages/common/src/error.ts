/**
 * The errors of the API: kind 3 of the four kinds in `docs/architecture.md`.
 *
 * The other three are a wire status (`spec/iommu/status.ts`, a value), bad input from the peer (a returned result of
 * the function that met it) and a broken invariant (`assert`, never caught).
 */

/** Every code an {@link IommuError} can carry, with what it means for the caller. */
export const ERROR_CODES = {
  EACCES: 'The caller may not do this.',
  EBUSY: 'The object is in use, or frozen, and cannot change now.',
  EDEADLK: 'The call would wait for itself.',
  EEXIST: 'The object, or a mapping in the range, exists already.',
  EFAULT: 'An address is not backed by memory.',
  EINVAL: 'An argument is outside what the function accepts.',
  EIO: 'The device broke the protocol, failed, or did not answer in time.',
  ENODEV: 'There is no such device, or it lacks what the driver needs.',
  ENOENT: 'No object has this name or number.',
  ENOMEM: 'Memory, or another counted resource of the device, is used up.',
  ENOSPC: 'A table or a range of numbers is full.',
  ENOSYS: 'The device does not support the request.',
  EOPNOTSUPP: 'The object cannot do this.',
  EOVERFLOW: 'A value does not fit its field or its range.',
  EPERM: 'The object is owned by somebody else, or its drivers are bound.',
  EPROBE_DEFER: 'Something the device depends on is not there yet; try again later.',
  ERANGE: 'An address or a number is outside the range the device offers.',
  ESHUTDOWN: 'The worker or the machine has ended.',
  ESRCH: 'The firmware names nothing of this kind for the device.',
  ETIMEDOUT: 'The other side did not answer within the time limit.',
} as const;

/** The stable name of a failure; match on this and never on the message. */
export type ErrorCode = keyof typeof ERROR_CODES;

/** A failed call: a stable `code`, one sentence, and the cause where there is one. */
export class IommuError extends Error {
  override readonly name = 'IommuError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Thrown by {@link assert}: a bug in this project, which nobody catches. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

/**
 * Stops when an invariant of our own code is broken.
 *
 * Never used on what a peer, a file or a caller supplied: those are the other three kinds.
 */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}
