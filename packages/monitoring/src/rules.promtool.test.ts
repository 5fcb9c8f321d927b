import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { prometheusConfig, prometheusRules } from './configuration.js';

const hasPromtool = spawnSync('promtool', ['--version']).status === 0;
if (!hasPromtool) console.warn('skipped: promtool, which comes with prometheus, is not installed');

const folder = mkdtempSync(join(tmpdir(), 'weft-rules-'));
afterAll(() => rmSync(folder, { recursive: true }));

function promtool(...words: string[]): { readonly status: number | null; readonly output: string } {
  const { status, stdout, stderr } = spawnSync('promtool', words, { encoding: 'utf8' });
  return { status, output: stdout + stderr };
}

describe.skipIf(!hasPromtool)('promtool', () => {
  it('finds every alert firing where it must, and nowhere else', () => {
    const tests = fileURLToPath(new URL('../../../deploy/prometheus/rules.test.yml', import.meta.url));
    const { status, output } = promtool('test', 'rules', tests);
    expect(status, output).toBe(0);
  });

  it.each(['http', 'files'] as const)('reads configuration and scaled rules, with discovery over %s', (kind) => {
    const config = join(folder, 'prometheus.yml');
    writeFileSync(join(folder, 'rules.yml'), prometheusRules(0.01));
    const discovery =
      kind === 'http' ? { kind, coordinator: '10.0.0.1:9470' } : { kind, coordinator: 'a.json', workers: 'b.json' };
    writeFileSync(config, prometheusConfig({ discovery, rules: 'rules.yml', timeScale: 0.01 }));
    const { status, output } = promtool('check', 'config', config);
    expect(status, output).toBe(0);
    expect(output).toContain('SUCCESS: 20 rules found');
  });
});
