/** All cases on the driver's side, in the order of the standard. */

import { ANSWER_CASES } from './answer.ts';
import type { DriverCase } from './case.ts';
import { CONFIG_CASES } from './config.ts';
import { FAULT_CASES } from './fault.ts';
import { HOSTILE_CASES } from './hostile.ts';
import { NOTIFICATION_CASES } from './notification.ts';
import { PROBE_CASES } from './probe.ts';
import { REGISTER_CASES } from './register.ts';
import { REQUEST_CASES } from './request.ts';
import { START_CASES } from './start.ts';
import { WATCHED_CASES } from './watched.ts';

export const DRIVER_CASES: readonly DriverCase[] = [
  ...START_CASES,
  ...CONFIG_CASES,
  ...REQUEST_CASES,
  ...ANSWER_CASES,
  ...PROBE_CASES,
  ...FAULT_CASES,
  ...REGISTER_CASES,
  ...NOTIFICATION_CASES,
  ...HOSTILE_CASES,
  ...WATCHED_CASES,
];
