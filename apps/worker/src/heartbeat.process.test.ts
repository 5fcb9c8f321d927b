import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { WorkersService } from '@weft/proto';
import { serve, service } from '@weft/rpc';
import { temporaryDirectory, waitFor } from '@weft/testing';
import { describe, expect, it } from 'vitest';

const INTERVAL_MS = 100;
const built = (file: string) => new URL(`../dist/${file}`, import.meta.url).href;

/**
 * A process whose event loop is idle until ten heartbeats went out on the stream, and then busy until a file is there. It
 * prints how far apart the heartbeats of the idle loop were at most.
 */
const script = `
  import { existsSync } from 'node:fs';
  import { heartbeatThread } from ${JSON.stringify(built('heartbeat.js'))};
  const log = { warn: (fields, message) => console.error(message, fields.error) };
  const start = heartbeatThread(process.env.ADDRESS, log, new URL(${JSON.stringify(built('heartbeat-thread.js'))}));
  let onStream = 0;
  let lastMs = performance.now();
  let longestMs = 0;
  const sendHeartbeat = () => {
    longestMs = Math.max(longestMs, performance.now() - lastMs);
    lastMs = performance.now();
    if (++onStream === 10) setImmediate(beBusy);
  };
  const heartbeat = start({ workerId: 'w1', token: 'secret', intervalMs: Number(process.env.INTERVAL_MS), sendHeartbeat });
  function beBusy() {
    process.stdout.write(longestMs + '\\n');
    while (!existsSync(process.env.UNTIL));
    heartbeat.stop();
  }
`;

const start = (address: string, intervalMs: number, until: string) =>
  spawn(process.execPath, ['--input-type=module', '-e', script], {
    env: { ...process.env, ADDRESS: address, INTERVAL_MS: String(intervalMs), UNTIL: until },
    stdio: ['ignore', 'pipe', 'inherit'],
  });

describe('the heartbeat of a worker', () => {
  it('sends heartbeats on the stream, and beside it while the event loop is busy', async () => {
    expect(existsSync(fileURLToPath(built('heartbeat-thread.js'))), 'run npm run build first').toBe(true);
    await using directory = await temporaryDirectory();
    const enough = join(directory.path, 'enough');
    let beside = 0;
    const server = await serve({
      services: [
        service(WorkersService, {
          connect: async () => {},
          sendHeartbeat: (request) => {
            expect(request).toEqual({ workerId: 'w1', token: 'secret' });
            beside++;
            return {};
          },
        }),
      ],
    });
    const child = start(server.address, INTERVAL_MS, enough);
    const closed = once(child, 'close');
    const [line] = await once(createInterface(child.stdout), 'line');
    const whileIdle = beside;
    await waitFor('heartbeats beside the stream', () => beside >= whileIdle + 10, { timeoutMs: 60_000 });
    await writeFile(enough, '');
    const [code] = await closed;
    await server.close(0);
    expect(code).toBe(0);
    // A loop that was held up is busy too.
    if (Number(line) < 1.1 * INTERVAL_MS) expect(whileIdle).toBeLessThan(5);
  });
  it('comes beside the stream once at the beginning, so that the connection is there before it is needed', async () => {
    let beside = 0;
    const sendHeartbeat = () => {
      beside++;
      return {};
    };
    const server = await serve({ services: [service(WorkersService, { connect: async () => {}, sendHeartbeat })] });
    const child = start(server.address, 600_000, '');
    const closed = once(child, 'close');
    await waitFor('a heartbeat beside the stream', () => beside > 0, { timeoutMs: 60_000 });
    child.kill();
    await closed;
    await server.close(0);
  });
});
