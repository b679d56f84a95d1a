/** What a driver may conclude from a used length: section "The Virtqueue Used Ring", driver side. */

import { AttachRequest, FaultReason, FaultRecord, ProbeRequest, Status } from '@viommu/common';
import { allocPaging, attach } from '@viommu/driver';
import { describe, expect, it } from 'vitest';
import { RESERVED, list, region } from './helper/property.ts';
import { ATTACH, PROBE, codeOf, setUp } from './helper/setup.ts';

const ATTACH_8 = AttachRequest.encode({ type: ATTACH, domain: 1, endpoint: 8, flags: 0 });
const PROBE_8 = ProbeRequest.encode({ type: PROBE, endpoint: 8 });
const PROPERTIES = list(64, region(RESERVED, 0x1000n, 0x1fffn));

describe('bytes past the used length', () => {
  it('split.drv.used.no-trust-past-len: a status or a property there is none', () => {
    const { driver, device } = setUp();
    const endpoint = driver.probeDevice([8]);
    device.script = () => ({ status: Status.OK, properties: PROPERTIES, usedBytes: 0 });
    expect(codeOf(() => attach(allocPaging(endpoint), endpoint))).toBe('EIO');
    expect(endpoint.domain).toBeNull();
    expect(codeOf(() => driver.probeDevice([9]))).toBe('EIO');
    expect(driver.endpoints.has(9)).toBe(false);
    // Nor if only the end of the answer is past it.
    device.script = () => ({ status: Status.OK, properties: PROPERTIES, usedBytes: 64 });
    expect(codeOf(() => driver.probeDevice([9]))).toBe('EIO');
  });

  it.each([0, 1, 3])(
    'split.drv.used.ignore-past-len: after %i bytes garbage is as good as zeros',
    (usedBytes) => {
      const outcomes = [0x00, 0x06, 0xa5].map((fill) => {
        const { driver, device } = setUp();
        const properties = new Uint8Array(64).fill(fill);
        device.script = () => ({
          status: fill,
          tailReserved: [fill, fill, fill],
          properties,
          usedBytes,
        });
        return [
          driver.requests.sendReqSync(ATTACH_8),
          driver.requests.sendProbeSync(PROBE_8),
          driver.state,
          { ...driver.log.counters },
        ];
      });
      expect(outcomes[1]).toEqual(outcomes[0]);
      expect(outcomes[2]).toEqual(outcomes[0]);
    },
  );

  it.each([0, 8, 23])(
    'split.drv.used.ignore-past-len: of a fault record of %i bytes no other is used',
    (usedBytes) => {
      const reports = [0x00, 0xff].map((fill) => {
        const { driver, device, faults } = setUp();
        const record = FaultRecord.encode({
          reason: FaultReason.MAPPING,
          flags: 1,
          endpoint: 8,
          address: 0x2010n,
        });
        device.inject(record.fill(fill, usedBytes), usedBytes);
        driver.serveEvents();
        return [faults, driver.state, { ...driver.log.counters }];
      });
      expect(reports[1]).toEqual(reports[0]);
    },
  );
});
