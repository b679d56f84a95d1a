import { describe, expect, it } from 'vitest';
import { DeviceTreeFirmware } from '../../src/firmware/device-tree-iommu.ts';
import { parseDeviceTreeSource } from '../../src/firmware/device-tree-source.ts';
import { ViotFirmware } from '../../src/firmware/viot-iommu.ts';
import { type ViotIommu, type ViotNode, buildViot } from '../../src/firmware/viot.ts';
import { IommuCore } from '../../src/core.ts';
import type { FirmwareNode } from '../../src/device.ts';
import { CoreLog } from '../../src/log.ts';
import type { Firmware } from '../../src/probe.ts';
import { ScriptedDma } from '../kit/core-guest.ts';
import { ScriptedIommu } from '../kit/scripted-iommu.ts';
import { ManualClock } from '../manual-clock.ts';
import { ScriptedHost, idsOf, pciDevice, platformDevice } from './firmware-guest.ts';

const mmio: ViotIommu = { type: 'mmioIommu', baseAddress: 0x0a00_3e00n };
const pci: ViotIommu = { type: 'pciIommu', segment: 0, bdf: 0x0008 };
const bridge = platformDevice('bridge');

const range = (more: Partial<Extract<ViotNode, { type: 'pciRange' }>>): ViotNode => ({
  type: 'pciRange',
  endpointStart: 0,
  segmentStart: 0,
  segmentEnd: 0,
  bdfStart: 0,
  bdfEnd: 0xffff,
  output: pci,
  ...more,
});

const firmware = (...nodes: ViotNode[]) => new ViotFirmware(buildViot(nodes), new CoreLog());

describe('the endpoints of a VIOT table', () => {
  it('S4.6 are numbered from the start of their range, over segments [F5]', () => {
    const from = firmware(pci, range({ segmentEnd: 1, endpointStart: 0x100 }));
    expect(idsOf(from, pciDevice(0x0010, bridge, { segment: 1 }))).toEqual([0x10110]);
    expect(idsOf(from, pciDevice(0x0010, bridge))).toEqual([0x110]);
    expect(idsOf(from, pciDevice(0x0010, bridge, { segment: 2 }))).toBe('ENODEV');
    const later = firmware(pci, range({ segmentStart: 2, segmentEnd: 3, bdfStart: 8 }));
    expect(idsOf(later, pciDevice(0x0010, bridge, { segment: 3 }))).toEqual([0x10008]);
  });

  it('are found in the first range that has them, and each requester id for itself', () => {
    const from = firmware(
      pci,
      range({ bdfStart: 0x10, bdfEnd: 0x1f, endpointStart: 0x500 }),
      range({ bdfStart: 0x18, bdfEnd: 0x2f }),
    );
    expect(idsOf(from, pciDevice(0x18, bridge))).toEqual([0x508]);
    expect(idsOf(from, pciDevice(0x20, bridge, { aliases: [0x10] }))).toEqual([8, 0x500]);
    expect(idsOf(from, pciDevice(0x20, bridge, { aliases: [0x30] }))).toBe('ENODEV');
    expect(idsOf(from, pciDevice(0x0f, bridge))).toBe('ENODEV');
  });

  it('are found by their first register window', () => {
    const entry: ViotNode = {
      type: 'mmioEndpoint',
      endpoint: 9,
      baseAddress: 0x1000n,
      output: mmio,
    };
    const from = firmware(entry, mmio);
    expect(idsOf(from, platformDevice('d', undefined, 0x1000n))).toEqual([9]);
    expect(idsOf(from, platformDevice('d', undefined, 0x1001n))).toBe('ENODEV');
    expect(idsOf(from, platformDevice('d'))).toBe('ENODEV');
  });

  it('are behind the node of the device that is the IOMMU', () => {
    const entry: ViotNode = {
      type: 'mmioEndpoint',
      endpoint: 9,
      baseAddress: 0x1000n,
      output: mmio,
    };
    const from = firmware(pci, mmio, entry, range({}));
    const host = new ScriptedHost();
    from.describe(platformDevice('d', undefined, 0x1000n), host);
    expect(host.node).toBe(from.nodeOf(platformDevice('iommu', undefined, 0x0a00_3e00n)));
    expect(from.nodeOf(pciDevice(8, bridge))?.path).toBe('VIOT/pci@0:8');
    expect(from.nodeOf(pciDevice(9, bridge))).toBeUndefined();
    expect(from.nodeOf(pciDevice(8, bridge, { segment: 1 }))).toBeUndefined();
    expect(from.regionsOf()).toEqual([]);
  });

  it('are never the IOMMU itself, which does not translate its own accesses', () => {
    const entry: ViotNode = {
      type: 'mmioEndpoint',
      endpoint: 9,
      baseAddress: 0x0a00_3e00n,
      output: mmio,
    };
    const from = firmware(pci, mmio, entry, range({}));
    expect(idsOf(from, pciDevice(8, bridge))).toBe('EINVAL');
    expect(idsOf(from, platformDevice('iommu', undefined, 0x0a00_3e00n))).toBe('EINVAL');
  });

  it('have numbers of 32 bits', () => {
    const from = firmware(pci, range({ endpointStart: 0xffff_fff0 }));
    expect(idsOf(from, pciDevice(0x0f, bridge))).toEqual([0xffff_ffff]);
    expect(idsOf(from, pciDevice(0x10, bridge))).toBe('EINVAL');
  });

  it('are left out, and logged, if they cannot be resolved [F7]', () => {
    const bytes = buildViot([
      { type: 'mmioEndpoint', endpoint: 1, baseAddress: 1n, output: mmio },
      { type: 'mmioEndpoint', endpoint: 2, baseAddress: 2n, output: mmio },
      mmio,
    ]);
    // The first endpoint's output node, and the checksum that goes with it.
    bytes[48 + 16] = 200;
    bytes[9] = ((bytes[9] ?? 0) + 96 + 256 - 200) % 256;
    const log = new CoreLog();
    const from = new ViotFirmware(bytes, log);
    expect(log.counters.firmwareIgnored).toBe(1);
    expect(idsOf(from, platformDevice('a', undefined, 1n))).toBe('ENODEV');
    expect(idsOf(from, platformDevice('b', undefined, 2n))).toEqual([2]);
  });
});

/** The same machine twice: each device with its place in both descriptions. */
function bothWays() {
  const tree = parseDeviceTreeSource(`
    v: iommu@a003e00 { compatible = "virtio,mmio"; #iommu-cells = <1>; };
    pci { iommu-map = <0 &v 0x100 0x40  0x48 &v 0x148 0xffb8>; };
    d@a003c00 { iommus = <&v 0x20000>; };
    e@a003a00 { };`);
  const trees = new DeviceTreeFirmware(tree, new CoreLog());
  const tables = firmware(
    mmio,
    range({ bdfEnd: 0x3f, endpointStart: 0x100, output: mmio }),
    range({ bdfStart: 0x48, endpointStart: 0x148, output: mmio }),
    { type: 'mmioEndpoint', endpoint: 0x20000, baseAddress: 0x0a00_3c00n, output: mmio },
  );
  const iommu = platformDevice('iommu', tree.find('/iommu@a003e00'), 0x0a00_3e00n);
  const root = platformDevice('bridge', tree.find('/pci'));
  const devices = () => [
    platformDevice('d', tree.find('/d@a003c00'), 0x0a00_3c00n),
    platformDevice('e', tree.find('/e@a003a00'), 0x0a00_3a00n),
    ...[0, 8, 0x3f, 0x40, 0x47, 0x48, 0xffff].map((requester) => pciDevice(requester, root)),
    pciDevice(0x100, root, { aliases: [0x101, 0x20] }),
    // Two functions of one device that are not kept apart.
    ...[0x50, 0x51].map((at) => pciDevice(at, root, { multifunction: true, isolated: false })),
  ];
  return { trees, tables, devices, iommu };
}

describe('one topology in both descriptions', () => {
  it('S4.6 gives every device the same numbers [F10]', () => {
    const { trees, tables, devices } = bothWays();
    const expected = [
      [0x20000],
      'ENODEV',
      [0x100],
      [0x108],
      [0x13f],
      'ENODEV',
      'ENODEV',
      [0x148],
      [0x100ff],
      [0x200, 0x201, 0x120],
      [0x150],
      [0x151],
    ];
    expect(devices().map((device) => idsOf(trees, device))).toEqual(expected);
    expect(devices().map((device) => idsOf(tables, device))).toEqual(expected);
  });

  it('gives every device the same group [F10]', () => {
    const { trees, tables, devices, iommu } = bothWays();
    const groupsBy = (from: Firmware, node: FirmwareNode | undefined) => {
      const dma = new ScriptedDma();
      const core = new IommuCore({ clock: new ManualClock(), firmware: from, dma: () => dma });
      const all = devices();
      for (const device of all) core.addDevice(device);
      core.registerInstance(new ScriptedIommu(), node ?? { path: 'none', enabled: false });
      return all.map(({ group }) => group?.id);
    };
    const groups = groupsBy(trees, iommu.node);
    expect(groups).toEqual([0, undefined, 1, 2, 3, undefined, undefined, 4, 5, 6, 7, 7]);
    expect(groupsBy(tables, tables.nodeOf(iommu))).toEqual(groups);
  });
});
