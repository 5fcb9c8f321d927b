import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { readFiles } from './checks/files.mjs';

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
const optionsIn = (text: string) => [...text.matchAll(/(?<![\w-])--([a-z][a-z-]+)/g)].map(([, name = '']) => name);

/** Options as the sources of the commands declare them; those of the CLI are shared by all its commands. */
const KNOWN: Record<string, ReadonlySet<string>> = {
  coordinator: new Set(optionsIn(read('apps/coordinator/src/options.ts'))),
  worker: new Set(optionsIn(read('apps/worker/src/options.ts'))),
  'expert-worker': new Set(optionsIn(read('apps/worker/src/options.ts'))),
  cli: new Set(
    readFiles((path) => path.startsWith('apps/cli/src/') && !path.endsWith('.test.ts')).flatMap(({ text }) =>
      optionsIn(text),
    ),
  ),
};

/** Commands of weft in a file, one a line, each with its options. */
function commandsIn(text: string): { readonly command: string; readonly options: readonly string[] }[] {
  return [...text.matchAll(/(?:npx weft|weft\.js) ([a-z-]+)(.*)$/gm)].map(([, command = '', rest = '']) => ({
    command,
    options: optionsIn(rest),
  }));
}

describe('what is written about running on several machines', () => {
  const files = readFiles(
    (path) =>
      path.startsWith('deploy/') ||
      path.startsWith('docs/runbooks/') ||
      path === 'README.md' ||
      path === 'docs/tour.md',
  );

  it('starts coordinators, workers and expert workers', () => {
    const commands = files.flatMap(({ text }) => commandsIn(text).map(({ command }) => command));
    expect(commands.filter((command) => command === 'coordinator').length).toBeGreaterThan(2);
    expect(commands.filter((command) => command === 'worker').length).toBeGreaterThan(2);
    expect(commands.filter((command) => command === 'expert-worker').length).toBeGreaterThan(2);
  });

  it.each(files.map(({ path, text }) => [path, text]))('uses options that exist: %s', (_path, text) => {
    for (const { command, options } of commandsIn(text)) {
      const known = KNOWN[command] ?? KNOWN.cli;
      expect(options.filter((option) => !known?.has(option))).toEqual([]);
    }
  });
});

describe('the Compose file', () => {
  interface Service {
    readonly image: string;
    readonly command: string;
    readonly environment?: Readonly<Record<string, string>>;
    readonly volumes: readonly string[];
    readonly depends_on?: Readonly<Record<string, unknown>>;
  }
  const { services, volumes }: { services: Record<string, Service>; volumes: Record<string, unknown> } = parse(
    read('deploy/compose.yaml'),
    { merge: true },
  );

  it('starts Redis with an append-only file and without eviction, a coordinator, and two workers', () => {
    const commands = Object.values(services).map(({ command }) => command);
    expect(commands.filter((command) => command.includes('weft.js coordinator'))).toHaveLength(1);
    expect(commands.filter((command) => command.includes('weft.js worker'))).toHaveLength(2);
    expect(services.redis?.command).toContain('--appendonly yes');
    expect(services.redis?.command).toContain('--maxmemory-policy noeviction');
  });

  it('names services, volumes and ports that are there', () => {
    for (const [name, { image, environment = {}, volumes: mounts, depends_on = {} }] of Object.entries(services)) {
      expect(image, name).toMatch(/^[a-z]+:[\w.-]+$/);
      for (const other of Object.keys(depends_on)) expect(Object.keys(services), name).toContain(other);
      const named = mounts.map((mount) => mount.split(':')[0] ?? '').filter((source) => source !== '..');
      for (const volume of named) expect(Object.keys(volumes), name).toContain(volume);
      const { WEFT_COORDINATOR = '', WEFT_REDIS_URL = '' } = environment;
      if (name === 'redis') continue;
      const [host = '', port = ''] = WEFT_COORDINATOR.split(':');
      expect(services[host]?.command).toContain(`--port ${port}`);
      expect(Object.keys(services)).toContain(new URL(WEFT_REDIS_URL).hostname);
    }
  });
});
