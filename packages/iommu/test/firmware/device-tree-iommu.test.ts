import { Protection, RegionKind } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { DeviceTreeFirmware } from '../../src/firmware/device-tree-iommu.ts';
import { parseDeviceTreeSource } from '../../src/firmware/device-tree-source.ts';
import { CoreLog } from '../../src/log.ts';
import { grantBackend } from '../../src/grant/backend.ts';
import { ScriptedHost, idsOf, pciDevice, platformDevice } from './firmware-guest.ts';

const V = 'v: iommu { #iommu-cells = <1>; };';

function firmware(source: string) {
  const log = new CoreLog();
  const tree = parseDeviceTreeSource(source);
  const from = new DeviceTreeFirmware(tree, log);
  const device = (path = '/d') => platformDevice(path, tree.find(path));
  const bridge = (path = '/pci') => platformDevice('bridge', tree.find(path));
  const pci = (requester: number, aliases: number[] = []) =>
    pciDevice(requester, bridge(), { aliases });
  return { log, tree, from, device, bridge, pci };
}

const { READ, WRITE, CACHE } = Protection;

describe('the endpoints of a device tree', () => {
  it.each([
    ['<&v 23>', [23]],
    ['<&v 7>, <&v 8>', [7, 8]],
    ['<&v 7 &v 8>', [7, 8]],
  ])('S4.6 are numbered in the order of iommus = %s [F1]', (iommus, ids) => {
    const { from, tree, device } = firmware(`${V} d { iommus = ${iommus}; };`);
    const host = new ScriptedHost();
    from.describe(device(), host);
    // The core hears which IOMMU it is, and the numbers, before it asks that IOMMU about the device.
    expect(host.node).toBe(tree.find('/iommu'));
    expect(host.ids).toEqual(ids);
  });

  it('S0.13 S4.6 are translated by the host bridge for PCI [F2]', () => {
    const { from, pci } = firmware(`${V} pci { iommu-map = <0 &v 0 8  9 &v 9 0xfff7>; };`);
    expect(idsOf(from, pci(7))).toEqual([7]);
    expect(idsOf(from, pci(8))).toBe('ENODEV');
    expect(idsOf(from, pci(9))).toEqual([9]);
    expect(idsOf(from, pci(0xffff))).toEqual([0xffff]);
  });

  it('S0.13 lead to a back-end by the map of the host bridge [F2]', () => {
    const { from, pci, log } = firmware(`
      g: grant { compatible = "xen,grant-dma"; #iommu-cells = <1>; };
      pci { iommu-map = <0x10 &g 2 1  0x11 &g 0x7fef 1>; };`);
    const xen = { initialDomain: false, forceGrant: false };
    expect(grantBackend(pci(0x10), from, xen, log)).toBe(2);
    expect(grantBackend(pci(0x11), from, xen, log)).toBe(0x7fef);
    expect(() => grantBackend(pci(0x12), from, xen, log)).toThrow(
      expect.objectContaining({ code: 'ESRCH' }),
    );
  });

  it('S0.15 lead to a back-end by their own node [E1]', () => {
    const { from, device, log } = firmware(`
      g: grant { compatible = "xen,grant-dma"; #iommu-cells = <1>; };
      virtio@3000 { iommus = <&g 1>; };
      old { xen,backend-domid = <1>; };`);
    const xen = { initialDomain: false, forceGrant: false };
    expect(grantBackend(device('/virtio@3000'), from, xen, log)).toBe(1);
    expect(log.counters.firmwareIgnored).toBe(0);
    expect(() => grantBackend(device('/old'), from, xen, log)).toThrow(
      expect.objectContaining({ code: 'ESRCH' }),
    );
    expect(log.counters.firmwareIgnored).toBe(1);
  });

  it('are masked, and moved, as the map says [F3]', () => {
    const { from, pci } = firmware(
      `${V} pci { iommu-map = <0 &v 0x10000 0x10000>; iommu-map-mask = <0xff00>; };`,
    );
    expect(idsOf(from, pci(0x0123))).toEqual([0x10100]);
  });

  it('have a number for each of their requester ids', () => {
    const map = 'iommu-map = <0 &v 0x100 0x10>';
    const { from, pci } = firmware(`${V} pci { ${map}; };`);
    expect(idsOf(from, pci(2, [1, 15]))).toEqual([0x102, 0x101, 0x10f]);
    expect(idsOf(from, pci(2, [1, 16]))).toBe('ENODEV');
  });

  it.each([
    ['five cells', 'pci { iommu-map = <0 &v 0 8 9>; };', 'EINVAL'],
    ['no cells', 'pci { iommu-map; };', 'EINVAL'],
    [
      'a base outside of its mask',
      'pci { iommu-map = <1 &v 0 8>; iommu-map-mask = <0xfffe>; };',
      'EFAULT',
    ],
    ['a phandle that nothing has', 'pci { iommu-map = <0 99 0 8>; };', 'ENODEV'],
    ['a number of more than 32 bits', 'pci { iommu-map = <0 &v 0xffffffff 8>; };', 'EINVAL'],
    ['a mask of two cells', 'pci { iommu-map = <0 &v 0 8>; iommu-map-mask = <1 2>; };', 'EINVAL'],
    ['no map', 'pci { };', 'ENODEV'],
  ])('are refused with a map of %s [F4]', (_, source, code) => {
    const { from, pci } = firmware(V + source);
    expect(idsOf(from, pci(2))).toBe(code);
    expect(from.specifierOf(pci(2))).toBeUndefined();
  });

  it.each([
    ['nothing', 'd { };', 'ENODEV'],
    ['an empty list', 'd { iommus; };', 'ENODEV'],
    ['bytes', 'd { iommus = [00]; };', 'EINVAL'],
    ['a phandle that nothing has', 'd { iommus = <99 1>; };', 'ENODEV'],
    ['too few cells', 'd { iommus = <&v>; };', 'EINVAL'],
    ['a node that takes no cells', 'w: w { }; d { iommus = <&w 1>; };', 'EINVAL'],
    [
      'a node that takes too many',
      'w: w { #iommu-cells = <17>; }; d { iommus = <&w 1>; };',
      'EINVAL',
    ],
    ['two IOMMUs', 'w: w { #iommu-cells = <1>; }; d { iommus = <&v 1 &w 1>; };', 'EINVAL'],
  ])('are refused if iommus has %s, and the core hears nothing', (_, source, code) => {
    const { from, device } = firmware(V + source);
    expect(idsOf(from, device())).toBe(code);
  });

  it('have none if it is disabled, and need not wait for it [F9]', () => {
    for (const [status, expected] of [
      ['disabled', 'ENODEV'],
      ['fail', 'ENODEV'],
      ['okay', [1]],
      ['ok', [1]],
    ] as const) {
      const { from, device } = firmware(
        `v: iommu { #iommu-cells = <1>; status = "${status}"; }; d { iommus = <&v 1>; };`,
      );
      expect(idsOf(from, device())).toEqual(expected);
    }
  });

  it('are not described twice, and hear from the core why they wait', () => {
    const { from, device, tree } = firmware(`${V} d { iommus = <&v 1>; };`);
    const host = new ScriptedHost();
    const described = device();
    const node = tree.find('/iommu') ?? tree.root;
    described.iommu = {
      fwspec: { node, ids: [1] },
      instance: undefined,
      endpoint: undefined,
      requireDirect: false,
    };
    from.describe(described, host);
    expect(host.node).toBeUndefined();
    host.refusal = 'EPROBE_DEFER';
    expect(() => from.describe(device(), host)).toThrow(
      expect.objectContaining({ code: 'EPROBE_DEFER' }),
    );
  });

  it('have none without a node of the tree', () => {
    const { from } = firmware(V);
    const stranger = { path: '/d', enabled: true };
    expect(idsOf(from, platformDevice('d'))).toBe('ENODEV');
    expect(idsOf(from, platformDevice('d', stranger))).toBe('ENODEV');
    expect(idsOf(from, pciDevice(1, platformDevice('bridge')))).toBe('ENODEV');
    expect(from.regionsOf(platformDevice('d', stranger))).toEqual([]);
    expect(from.dmaWindowOf(platformDevice('d', stranger))).toBeUndefined();
    expect(from.hasProperty(stranger, 'x')).toBe(false);
  });
});

const reserved = (memory: string, more = '') => `
  #address-cells = <2>; #size-cells = <2>;
  reserved-memory {
    #address-cells = <2>; #size-cells = <2>; ranges;
    m: memory@1 { ${memory} };
  };
  d: d { memory-region = <&m>; ${more} };
  e: e { };`;

describe('the reserved memory of a device tree', () => {
  it.each([
    ['matching', 'reg = <0 0x8000 0 0x2000>;', RegionKind.DIRECT, 0],
    ['no', '', RegionKind.RESERVED, 0],
    ['a differing', 'reg = <0 0x9000 0 0x2000>;', RegionKind.RESERVED, 1],
    ['a longer', 'reg = <0 0x8000 0 0x3000>;', RegionKind.RESERVED, 1],
  ])('with %s reg [F8]', (_, reg, kind, warnings) => {
    const { from, device, log } = firmware(
      `/ {${reserved(`iommu-addresses = <&d 0 0x8000 0 0x2000>; ${reg}`)}};`,
    );
    expect(from.regionsOf(device())).toEqual([
      { start: 0x8000n, last: 0x9fffn, kind, protection: READ | WRITE },
    ]);
    expect(log.counters.firmwareIgnored).toBe(warnings);
  });

  it('is for the devices that it names, and skips what is empty', () => {
    const { from, device, log } = firmware(
      `/ {${reserved('iommu-addresses = <&e 0 1 0 1 &d 1 0 0 0 &d 1 0 0 0x1000 &e 2 0 0 1 &d 0 0 0 1>;', 'dma-coherent;')}};`,
    );
    const protection = READ | WRITE | CACHE;
    expect(from.regionsOf(device())).toEqual([
      { start: 1n << 32n, last: (1n << 32n) + 0xfffn, kind: RegionKind.RESERVED, protection },
      { start: 0n, last: 0n, kind: RegionKind.RESERVED, protection },
    ]);
    expect(log.counters.firmwareIgnored).toBe(1);
    expect(from.regionsOf(device('/e'))).toEqual([]);
  });

  it.each([
    ['ends too early', 'iommu-addresses = <&d 0 0 0>;', 0],
    ['is of a node that is not there', 'iommu-addresses = <&d 0 0 0 1 99 0 0 0 1>;', 1],
    ['passes the last address', 'iommu-addresses = <&d 0xffffffff 0xffffffff 0 2>;', 0],
    ['is not made of cells', 'iommu-addresses = [00];', 0],
  ])('is left out, with a warning, where it %s', (_, memory, kept) => {
    const { from, device, log } = firmware(`/ {${reserved(memory)}};`);
    expect(from.regionsOf(device())).toHaveLength(kept);
    expect(log.counters.firmwareIgnored).toBe(1);
  });
});

describe('the DMA window of a device tree', () => {
  it('is what the bus says, from the lowest to the highest address', () => {
    const { from, device } = firmware(`
      / { #address-cells = <2>; #size-cells = <2>;
          soc { #address-cells = <1>; #size-cells = <1>;
                dma-ranges = <0xc0000000 0 0 0x10000000  0x40000000 1 0 0x20000000>;
                d { }; };
          all { dma-ranges; d { }; };
          none { d { }; }; };`);
    expect(from.dmaWindowOf(device('/soc/d'))).toEqual({ start: 0x4000_0000n, last: 0xcfff_ffffn });
    expect(from.dmaWindowOf(device('/all/d'))).toBeUndefined();
    expect(from.dmaWindowOf(device('/none/d'))).toBeUndefined();
    expect(from.dmaWindowOf(device('/soc'))).toBeUndefined();
  });

  it('is that of the host bridge for PCI', () => {
    const { from, pci, log } = firmware(`
      / { #address-cells = <2>; #size-cells = <2>;
          pci { #address-cells = <3>; #size-cells = <2>;
                dma-ranges = <0x02000000 0 0x80000000 0 0 0 0x80000000>; }; };`);
    expect(from.dmaWindowOf(pci(8))).toEqual({ start: 0x8000_0000n, last: 0xffff_ffffn });
    expect(log.counters.firmwareIgnored).toBe(0);
  });

  it('is none where the property makes no sense', () => {
    const { from, device, log } = firmware('b { dma-ranges = <1 2 3>; d { }; };');
    expect(from.dmaWindowOf(device('/b/d'))).toBeUndefined();
    expect(log.counters.firmwareIgnored).toBe(1);
  });
});
