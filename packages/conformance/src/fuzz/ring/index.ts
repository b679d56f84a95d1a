export { ringDevice } from './device.ts';
export { ringDriver } from './driver.ts';
