/** All cases on the device's side, in the order of the standard. */

import type { DeviceCase } from '../case.ts';
import { ATTACH_CASES } from './attach.ts';
import { MAP_CASES } from './map.ts';

export const DEVICE_CASES: readonly DeviceCase[] = [...ATTACH_CASES, ...MAP_CASES];
