import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort, type TemporaryDirectory, temporaryDirectory, waitFor } from '@weft/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { main } from '../main.js';
import { recordedTerminal } from '../testing/fixtures.js';

/** Answers that it is ready, and keeps how it was called. */
const PROMETHEUS = `#!/usr/bin/env node
const address = process.argv.find((word) => word.startsWith('--web.listen-address=')).split('=')[1];
require('node:fs').writeFileSync(__dirname + '/called', process.argv.slice(2).join('\\n'));
require('node:http').createServer((_, response) => response.end('ready')).listen(address.split(':')[1], '127.0.0.1');
`;
const GRAFANA = `#!/usr/bin/env node
require('node:fs').writeFileSync(__dirname + '/environment', JSON.stringify(process.env));
setInterval(() => {}, 1000);
`;
const BROKEN = `#!/bin/sh
echo 'address already in use' >&2
exit 1
`;

let directory: TemporaryDirectory;
let home: string;
let programs: string;
beforeEach(async () => {
  directory = await temporaryDirectory();
  home = join(directory.path, 'home');
  programs = join(directory.path, 'programs');
  await mkdir(programs);
});
afterEach(() => directory.remove());

async function install(name: string, text: string): Promise<void> {
  await writeFile(join(programs, name), text);
  await chmod(join(programs, name), 0o755);
}

async function start(...words: string[]) {
  const terminal = recordedTerminal({ env: { PATH: programs } });
  const port = await freePort();
  const all = ['monitor', '--home', home, '--port', `${port}`, ...words];
  return { terminal, port, code: main(all, terminal) };
}

describe('weft monitor', () => {
  it('says in one line how to get Prometheus where there is none', async () => {
    const { terminal, code } = await start();
    expect(await code).toBe(1);
    expect(terminal.written.err).toMatch(/^error: Prometheus is not installed: apt-get install prometheus[^\n]+\n$/);
  });

  it('starts Prometheus for the home, says how to get Grafana, and ends both on Ctrl-C', async () => {
    await install('prometheus', PROMETHEUS);
    const { terminal, code, port } = await start('--time-scale', '0.1');
    await waitFor('the addresses', () => terminal.written.out.includes('Grafana'));
    process.emit('SIGINT');
    expect(await code).toBe(0);
    expect(terminal.written.out).toContain(`Prometheus: http://127.0.0.1:${port}/alerts\nGrafana is not installed: `);
    const called = await readFile(join(programs, 'called'), 'utf8');
    expect(called).toContain(`--web.listen-address=127.0.0.1:${port}`);
    expect(await readFile(join(home, 'monitor/rules.yml'), 'utf8')).toContain('interval: 1500ms');
    expect(await readFile(join(home, 'monitor/prometheus.yml'), 'utf8')).toContain(`${home}/prometheus-targets.json`);
    expect(await readFile(join(home, 'monitor/coordinator-targets.json'), 'utf8')).toBe('[]\n');
    await expect(fetch(`http://127.0.0.1:${port}`)).rejects.toThrow();
  });

  it('follows the coordinator of the home from launch to launch', async () => {
    await install('prometheus', PROMETHEUS);
    const { terminal, code } = await start();
    await waitFor('Prometheus', () => terminal.written.out.includes('Prometheus'));
    const file = { address: '127.0.0.1:1', processId: 1, version: '0' };
    for (const metricsAddress of ['127.0.0.1:9470', '127.0.0.1:9999']) {
      await writeFile(join(home, 'coordinator.json'), JSON.stringify({ ...file, metricsAddress }));
      const targets = () => readFile(join(home, 'monitor/coordinator-targets.json'), 'utf8');
      await waitFor('its address', async () => (await targets()) === `[{"targets":["${metricsAddress}"]}]\n`);
    }
    process.emit('SIGINT');
    expect(await code).toBe(0);
  });

  it('starts Grafana on loopback with a data source and the dashboards where it is installed', async () => {
    await install('prometheus', PROMETHEUS);
    await install('grafana-server', GRAFANA);
    const { terminal, code, port } = await start('--grafana-port', '3456', '--metrics', '10.0.0.1:9470');
    await waitFor('its environment', () => readFile(join(programs, 'environment'), 'utf8').then(Boolean, () => false));
    await waitFor('the address', () => terminal.written.out.includes('Grafana: http://127.0.0.1:3456/dashboards'));
    process.emit('SIGINT');
    expect(await code).toBe(0);
    const environment = JSON.parse(await readFile(join(programs, 'environment'), 'utf8')) as Record<string, string>;
    expect(environment).toMatchObject({ GF_SERVER_HTTP_ADDR: '127.0.0.1', GF_SERVER_HTTP_PORT: '3456' });
    const provisioning = environment.GF_PATHS_PROVISIONING ?? '';
    expect(await readFile(join(provisioning, 'datasources/weft.yml'), 'utf8')).toContain(`http://127.0.0.1:${port}`);
    expect(await readFile(join(provisioning, 'dashboards/weft.yml'), 'utf8')).toMatch(
      /path: .*deploy\/grafana\/dashboards/,
    );
    expect(await readFile(join(home, 'monitor/prometheus.yml'), 'utf8')).toContain('http://10.0.0.1:9470/sd/workers');
  });

  it('shows why a program does not run', async () => {
    await install('prometheus', BROKEN);
    const { terminal, code } = await start();
    expect(await code).toBe(1);
    expect(terminal.written.err).toMatch(/^error: Prometheus does not run: address already in use/);
  });
});
