export { ringDevice } from './device.ts';
export { ringDriver } from './driver.ts';
export { ringRewrite } from './rewrite.ts';
export { ringRace } from './race.ts';
export { ringMemory } from './memory.ts';
