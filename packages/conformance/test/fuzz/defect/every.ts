/** All defects that some fuzzer must show, whichever. */

import { CORE_DEFECTS } from './core-list.ts';
import { DRIVER_DEFECTS } from './driver-list.ts';
import { DEFECTS, type Defect } from './list.ts';
import { RING_DEFECTS } from './ring-list.ts';

export const EVERY_DEFECT: readonly Defect[] = [
  ...DEFECTS,
  ...DRIVER_DEFECTS,
  ...RING_DEFECTS,
  ...CORE_DEFECTS,
];
