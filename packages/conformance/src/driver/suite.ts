/** All cases on the driver's side, in the order of the standard. */

import type { DriverCase } from './case.ts';
import { WATCHED_CASES } from './watched.ts';

export const DRIVER_CASES: readonly DriverCase[] = [...WATCHED_CASES];
