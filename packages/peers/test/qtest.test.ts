/** The channel to a peer, against one that follows a script. It is a process, so that its end is a real one. */

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { PeerLost, PeerProcess, type PeerProcessOptions, type QtestWrite } from '@viommu/peers';
import { Misdeed } from './kit/scripted-peer.ts';

const PROGRAM = fileURLToPath(new URL('kit/scripted-peer.ts', import.meta.url));

const started: PeerProcess[] = [];
afterEach(() => {
  for (const peer of started.splice(0)) peer.dispose();
});

function start(how = 'well', more: Partial<PeerProcessOptions> = {}): PeerProcess {
  const peer = new PeerProcess({
    command: [process.execPath, PROGRAM, how],
    args: (folder) => ['-qtest', `pipe:${folder}/q`],
    lifeMs: 30_000,
    ...more,
  });
  started.push(peer);
  return peer;
}

/** What a write of this value ends with. */
function misdeed(value: number, more: Partial<PeerProcessOptions> = {}): unknown {
  try {
    // Inside: on a busy machine a short life may end before it has begun.
    start('well', more).qtest.write(0x1000n, 4, value);
    return undefined;
  } catch (error) {
    return error;
  }
}

describe('a command', () => {
  it('is one line, and its reply a number or nothing', () => {
    const { qtest } = start();
    expect(qtest.read(0xab_cdefn, 4)).toBe(0xab_cdef);
    expect(qtest.read(0xffn, 1)).toBe(0xff);
    expect(qtest.readPort(0xcfc, 2)).toBe(0xcfc);
    qtest.write(0x1000n, 4, 0xffff_ffff);
    qtest.writePort(0xcf9, 1, 0xff);
    qtest.stepClock(1000);
    expect(qtest.commandCount).toBe(6);
  });

  it('is refused when its number does not fit, and nothing is sent', () => {
    const { qtest } = start();
    for (const value of [-1, 0.5, 0x100, Number.NaN, Infinity])
      expect(() => qtest.write(0n, 1, value)).toThrow('a value fits its access');
    expect(() => qtest.read(1n << 64n, 1)).toThrow('an address has 64 bits');
    expect(() => qtest.stepClock(0)).toThrow('time passes');
    expect(qtest.commandCount).toBe(0);
  });

  it('takes no answer that is too large for its width', () => {
    const { qtest } = start();
    expect(() => qtest.read(0x1_00n, 1)).toThrow('"readb 0x100" with "OK 0x0000000000000100"');
  });

  it('is several writes at once, more than a pipe can hold', () => {
    const { qtest } = start();
    const writes = Array.from({ length: 5000 }, (_, at): QtestWrite => [BigInt(at), 2, 0x100]);
    qtest.writeAll(writes);
    expect(qtest.commandCount).toBe(5000);
    expect(() =>
      qtest.writeAll([
        [0n, 1, 0],
        [1n, 1, Misdeed.GARBAGE],
        [2n, 1, 0],
      ]),
    ).toThrow('answered a write');
    expect(() => qtest.read(0n, 1)).toThrow('answered a write');
  });

  it('waits for an answer that comes in pieces, and skips news of interrupts', () => {
    const { qtest } = start('early');
    qtest.write(0n, 1, Misdeed.SLOW);
    qtest.write(0n, 1, Misdeed.LOUD);
    expect(qtest.read(0x12n, 1)).toBe(0x12);
  });
});

describe('a peer that', () => {
  it('leaves has crashed, with a status and last words', () => {
    const error = misdeed(Misdeed.EXIT) as PeerLost; // looked at next
    expect(error).toBeInstanceOf(PeerLost);
    expect([error.how, error.code, error.message]).toEqual([
      'crash',
      'EIO',
      'The peer ended with status 3.',
    ]);
    expect(error.lastWords).toBe('first line\nscripted: assertion failed');
  });

  it('is killed has crashed, with the signal', () => {
    expect(misdeed(Misdeed.ABORT)).toMatchObject({
      how: 'crash',
      message: 'The peer ended with signal 9.',
    });
  });

  it('hangs is ended when its time is over', () => {
    const begun = performance.now();
    expect(misdeed(Misdeed.HANG, { lifeMs: 2000 })).toMatchObject({
      how: 'hang',
      code: 'ETIMEDOUT',
    });
    expect(performance.now() - begun).toBeLessThan(20_000);
  });

  it('works without an end is ended long before its time is over, if it is kept', () => {
    expect(misdeed(Misdeed.SPIN, { kept: true })).toMatchObject({ how: 'hang' });
  });

  it('is slow is not, as it does no work', () => {
    const { qtest } = start('well', { kept: true });
    for (let time = 0; time < 30; time += 1) qtest.write(0n, 1, Misdeed.SLOW);
    expect(qtest.read(0x12n, 1)).toBe(0x12);
  });

  it('closes its channel and stays has crashed', () => {
    expect(misdeed(Misdeed.CLOSE)).toMatchObject({
      how: 'crash',
      message: 'The peer closed its channel.',
    });
  });

  it('is gone stays gone, and the caller chooses the error', () => {
    const lost = (how: string, message: string, words: string): Error =>
      new RangeError(`${how}; ${message}; ${words.split('\n').length} lines`);
    const { qtest } = start('well', { lost });
    const wanted = 'crash; The peer ended with status 3.; 2 lines';
    expect(() => qtest.write(0n, 1, Misdeed.EXIT)).toThrow(new RangeError(wanted));
    expect(() => qtest.read(0n, 1)).toThrow(new RangeError(wanted));
  });

  it.each([
    ['something else', Misdeed.GARBAGE, '"writel 0x1000 0x4" with "OK? ? said the sphinx"'],
    ['a refusal', Misdeed.FAIL, '"FAIL Unknown command"'],
    ['a line without an end', Misdeed.ENDLESS, 'a line without an end'],
    ['nothing but interrupts', Misdeed.NOISE, 'interrupts without end'],
  ])('answers with %s does not get further', (_, value, message) => {
    const error = misdeed(value) as Error; // looked at next
    expect(error).toMatchObject({ code: 'EIO' });
    expect(error.message).toContain(message);
  });

  it('answers twice is found out at the next command, and not believed from then on', () => {
    const { qtest } = start();
    qtest.write(0n, 1, Misdeed.TWICE);
    const unasked = 'The peer said "OK" when it was not asked.';
    expect(() => qtest.read(0n, 1)).toThrow(unasked);
    expect(() => qtest.read(0n, 1)).toThrow(unasked);
  });
});

describe('a start', () => {
  it.each([
    ['refuse', 'ENOENT', 'The peer does not start: scripted: nothing works here'],
    ['babble', 'EIO', 'The peer does not speak the qtest protocol.'],
  ])('of a peer that would %s fails', (how, code, message) => {
    expect(() => start(how)).toThrow(expect.objectContaining({ code, message }));
  });

  it('of a peer that says nothing fails when its time is over', () => {
    expect(() => start('mute', { lifeMs: 300 })).toThrow(expect.objectContaining({ how: 'hang' }));
  });

  it('of nothing fails', () => {
    expect(() => start('well', { command: ['/nowhere/qemu'] })).toThrow(
      expect.objectContaining({ code: 'ENOENT' }),
    );
  });

  it('fills a folder before, of which nothing but open files is left after, and no process in the end', async () => {
    let folder = '';
    const peer = start('well', {
      prepare(path) {
        folder = path;
        writeFileSync(join(path, 'card'), 'content');
      },
      files: ['card'],
    });
    expect([folder === '', existsSync(folder)]).toEqual([false, false]);
    expect(readFileSync(peer.file('card'), 'utf8')).toBe('content');
    const { pid } = peer;
    peer.dispose();
    peer.dispose();
    expect(() => peer.qtest.read(0n, 1)).toThrow('The peer was ended.');
    await expect.poll(() => existsSync(`/proc/${pid}/exe`)).toBe(false);
  });

  it('ends with whoever keeps the peer, even if nothing of that gets to run any more', async () => {
    const keeper = fileURLToPath(new URL('kit/keeper.ts', import.meta.url));
    const args = ['--conditions=@viommu/source', keeper, PROGRAM];
    const { stdout, signal } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    expect(signal).toBe('SIGKILL');
    expect(stdout).toMatch(/^\d+\n$/);
    await expect.poll(() => existsSync(`/proc/${stdout.trim()}/exe`)).toBe(false);
  });
});
