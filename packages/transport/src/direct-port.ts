/** Registers without a second thread: for tests, simulations and machines that run in one. */

import type { RegisterDevice, RegisterPort } from './register-device.ts';
import type { RegisterWindow } from './register-window.ts';

/** Reads from the window, writes to the device at once. The caller serves the device. */
export class DirectPort implements RegisterPort {
  readonly #window: RegisterWindow;
  readonly #device: RegisterDevice;

  constructor(window: RegisterWindow, device: RegisterDevice) {
    this.#window = window;
    this.#device = device;
  }

  read(offset: number, width: number): number {
    return this.#window.read(offset, width);
  }

  write(offset: number, width: number, value: number): void {
    this.#device.write(offset, width, value);
  }

  post(offset: number, width: number, value: number): void {
    this.write(offset, width, value);
  }
}
