export {
  CONTROL_BLOCKS_MAX,
  CONTROL_PAGE_SIZE,
  ControlBlock,
  ControlHead,
  ControlPage,
  DOORBELLS_MAX,
  type Doorbells,
} from './control-page.ts';
export { type DriverTransport, type FeatureRequest } from './driver-transport.ts';
export { type RegisterDevice, type RegisterPort } from './register-device.ts';
export { RegisterWindow } from './register-window.ts';
export { type DevicePort, type VirtioDevice, type VirtioSession } from './virtio-device.ts';
