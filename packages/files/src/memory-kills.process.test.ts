import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { temporaryDirectory } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { watchMemory } from './memory-kills.js';

const sleeper = () => spawn('sleep', ['60'], { stdio: 'ignore' });

/** A machine of files: what its `proc` and `sys` say. */
async function machine(root: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, name)), { recursive: true });
    await writeFile(join(root, name), text);
  }
}

describe('the end of a process for want of memory', () => {
  it.each([
    ['of its cgroup', '0::/jobs/w1\n', 'sys/fs/cgroup/jobs/w1/memory.events', 'low 0\noom 3\noom_kill '],
    [
      'of its cgroup of version 1',
      '5:memory:/jobs/w1\n0::/\n',
      'sys/fs/cgroup/memory/jobs/w1/memory.oom_control',
      'under_oom 0\noom_kill ',
    ],
    ['of the machine', '', 'proc/vmstat', 'pgfault 9\noom_kill '],
  ])('is known by the counter %s', async (_, cgroup, path, text) => {
    await using root = await temporaryDirectory();
    const child = sleeper();
    const counts = (count: number) => ({ [path]: `${text}${count}\n` });
    await machine(root.path, { ...counts(2), [`proc/${child.pid}/cgroup`]: cgroup });
    const watch = await watchMemory(child.pid ?? 0, root.path);
    expect(await watch.wasKilled()).toBe(false);
    await machine(root.path, counts(3));
    expect(await watch.wasKilled(), 'while it lives').toBe(false);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(await watch.wasKilled()).toBe(true);
    await machine(root.path, counts(2));
    expect(await watch.wasKilled(), 'killed by somebody else').toBe(false);
  });

  it('is not known where nothing counts', async () => {
    await using root = await temporaryDirectory();
    const child = sleeper();
    const watch = await watchMemory(child.pid ?? 0, root.path);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(await watch.wasKilled()).toBe(false);
  });
});
