import { describe, expect, it } from 'vitest';
import { WorkloadGate, WorkloadTask } from '../../src/workload/gate.ts';

const never = (): boolean => false;

describe('gate', () => {
  it('gives each guest its own orders, in their order', () => {
    const conductor = new WorkloadGate(2);
    const guest = new WorkloadGate(conductor.buffer);
    const other = new WorkloadGate(conductor.buffer);
    conductor.order(0, WorkloadTask.FILL);
    conductor.order(1, WorkloadTask.WINDOW, 70);
    expect(guest.next(0, never)).toBe(WorkloadTask.FILL);
    expect(other.next(1, never)).toBe(WorkloadTask.WINDOW);
    expect(other.windowMs(1)).toBe(70);
    conductor.order(0, WorkloadTask.VERIFY);
    expect(guest.next(0, never)).toBe(WorkloadTask.VERIFY);
  });

  it('lets a guest end that is told to stop, and not one that has an order', () => {
    const gate = new WorkloadGate(1);
    expect(gate.next(0, () => true)).toBe(WorkloadTask.END);
    gate.order(0, WorkloadTask.FILL);
    expect(gate.next(0, () => true)).toBe(WorkloadTask.FILL);
  });
});
