export { coreTarget } from './targets/core.ts';
