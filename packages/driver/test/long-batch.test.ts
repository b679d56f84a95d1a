/** Batches so long that the device is shown their begin while they are still being added. */

import { MapRequest, Status } from '@viommu/common';
import { NO_STATUS } from '@viommu/driver';
import { describe, expect, it } from 'vitest';
import { MAP, type Setup, ofType, setUp } from './helper/setup.ts';

/** A driver on a device that does whatever it is asked, and what became of its MAPs, as `page status`. */
function setUpWilling(): Setup & { ends: string[]; addPages: (from: number, to: number) => void } {
  const setup = setUp();
  setup.device.script = () => ({ status: Status.OK });
  const ends: string[] = [];
  const addPages = (from: number, to: number): void => {
    for (let page = from; page < to; page += 1) {
      const owner = {
        requestDone: (_: number, status: number) => void ends.push(`${page} ${status}`),
      };
      setup.driver.requests.addMap(owner, 1, page, page, page, 3);
    }
  };
  return { ...setup, ends, addPages };
}

/** The first pages of the MAPs that the device saw. */
function seenPages({ device }: Setup): number[] {
  return ofType(device, MAP).map(({ view }) => Number(MapRequest.read(view).virtStart >> 12n));
}

const pages = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, index) => from + index);

describe('a long batch', () => {
  it('[A1] is shown piece by piece, and told of once, by the sync', () => {
    const setup = setUpWilling();
    const { driver, device, addPages } = setup;
    for (const batch of [0, 1]) {
      const first = 40 * batch;
      addPages(first, first + 40);
      expect(device.notifications).toBe(batch);
      expect(driver.requests.unsent).toBe(8);
      // As a device that polls.
      device.serve();
      expect(seenPages(setup)).toHaveLength(first + 32);
      expect(driver.requests.inFlight).toBe(40);
      expect(driver.requests.syncReq()).toBeUndefined();
      expect(device.notifications).toBe(batch + 1);
      expect([driver.requests.unsent, driver.requests.inFlight]).toEqual([0, 0]);
    }
    expect(seenPages(setup)).toEqual(pages(0, 80));
  });

  it('[A1] that is short is shown by the sync', () => {
    const setup = setUpWilling();
    setup.addPages(0, 16);
    setup.device.serve();
    expect(seenPages(setup)).toEqual([]);
    expect(setup.driver.requests.syncReq()).toBeUndefined();
    expect(seenPages(setup)).toEqual(pages(0, 16));
  });

  it('[A1] is told of if the device slept when it was shown the begin, and not twice', () => {
    const { driver, device, addPages } = setUpWilling();
    addPages(0, 17);
    // The device does not care for the end of it.
    device.requestQueue.suppressNotification();
    expect(driver.requests.syncReq()).toBeUndefined();
    expect(device.notifications).toBe(1);
    // That it armed again when it was done does not count any more.
    device.requestQueue.suppressNotification();
    addPages(17, 18);
    expect(driver.requests.syncReq()).toBeUndefined();
    expect(device.notifications).toBe(1);
  });

  it('is kept by a reset from where the device was not shown it; what it could see ends without status', () => {
    const setup = setUpWilling();
    const { driver, device, ends, addPages } = setup;
    addPages(0, 36);
    expect(driver.requests.unsent).toBe(4);
    driver.resetRequestQueue();
    expect(ends).toEqual(pages(0, 32).map((page) => `${page} ${NO_STATUS}`));
    expect(driver.requests.inFlight).toBe(4);
    // What the old ring was to be told of does not count in the new one.
    device.requestQueue.suppressNotification();
    expect(driver.requests.syncReq()).toBeUndefined();
    expect(device.notifications).toBe(0);
    expect(seenPages(setup)).toEqual(pages(32, 36));
    expect(ends.slice(32)).toEqual(pages(32, 36).map((page) => `${page} 0`));
  });

  it('may be answered while it is being added', () => {
    const { driver, device, ends, addPages } = setUpWilling();
    addPages(0, 20);
    device.serve();
    addPages(20, 40);
    device.serve();
    addPages(40, 44);
    expect(ends).toEqual([]);
    expect(driver.requests.syncReq()).toBeUndefined();
    expect(ends).toEqual(pages(0, 44).map((page) => `${page} 0`));
  });
});
