/** Our driver behind registers that make it acknowledge interrupts nobody has defined. */

import { MmioRegister } from '@viommu/common';
import { type DriverTargetFactory, coreDriver } from '@viommu/conformance';

const careless: DriverTargetFactory = {
  name: 'careless',
  async open() {
    const target = await coreDriver.open();
    const start = target.start.bind(target);
    target.start = (environment) => {
      const { registers } = environment;
      return start({
        ...environment,
        registers: {
          read: (offset, width) => registers.read(offset, width),
          write: (offset, width, value) =>
            registers.write(
              offset,
              width,
              offset === MmioRegister.InterruptACK ? value | 4 : value,
            ),
        },
      });
    };
    return target;
  },
};

export default careless;
