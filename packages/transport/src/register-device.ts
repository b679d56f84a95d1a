/** A device behind a register window, and how a driver reaches the registers. */

/** What the host serves: any device whose registers are written through a mailbox. */
export interface RegisterDevice {
  /**
   * A register write of the driver. `offset` counts bytes from the start of the window, `width` is 1, 2 or 4 bytes
   * and `value` an unsigned number; what a device does not understand has no effect. The write is complete when this
   * returns. The host calls {@link serve} next.
   */
  write(offset: number, width: number, value: number): void;
  /** Does all work that is there now. False if there was none. */
  serve(): boolean;
  /** Before the host sleeps: asks the driver for notifications. False if work arrived meanwhile. */
  arm(): boolean;
  /** While the host is awake: tells the driver that notifications are not needed. */
  suppress(): void;
}

/** The driver's way to the registers of one device. */
export interface RegisterPort {
  /** Reads a register; 0 where there is none. `width` is 1, 2 or 4 bytes. */
  read(offset: number, width: number): number;
  /**
   * Writes a register and returns when the device has acted on it.
   *
   * @throws {IommuError} `ETIMEDOUT` if the device does not answer.
   */
  write(offset: number, width: number, value: number): void;
  /**
   * Writes a register and does not wait: the device acts when it is awake, and before it acts on any later write. Equal
   * posts may become one while the first is under way. For writes that can be repeated, and of which nobody needs to
   * know when they take effect.
   *
   * @throws {IommuError} `ETIMEDOUT` if the device does not answer an earlier write.
   */
  post(offset: number, width: number, value: number): void;
}
