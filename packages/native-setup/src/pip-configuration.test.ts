import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readPipConfiguration } from './pip-configuration.mjs';

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'weft-pip-'));
  mkdirSync(join(home, '.config', 'pip'), { recursive: true });
});
afterEach(() => rmSync(home, { recursive: true }));

const configure = (text: string) => writeFileSync(join(home, '.config', 'pip', 'pip.conf'), text);

it('reads the index of a user, its extra indexes over several lines, and leaves other sections alone', () => {
  configure(
    '# ours\n[install]\nindex-url = http://wrong/\n[global]\nindex_url = http://one/simple\nextra-index-url =\n  http://two/\n  http://three/\n',
  );
  const { indexes } = readPipConfiguration({ HOME: home });
  expect(indexes).toEqual(['http://one/simple', 'http://two/', 'http://three/']);
});

it('lets the environment win over every file, and PIP_CONFIG_FILE over the user', () => {
  configure('[global]\nindex-url = http://user/\nfind-links = /wheels\n');
  writeFileSync(join(home, 'named.conf'), '[download]\nindex-url = http://named/\n');
  const named = { HOME: home, PIP_CONFIG_FILE: join(home, 'named.conf') };
  expect(readPipConfiguration(named)).toMatchObject({ indexes: ['http://named/'], links: ['/wheels'] });
  expect(readPipConfiguration({ ...named, PIP_INDEX_URL: 'http://env/' }).indexes).toEqual(['http://env/']);
  expect(readPipConfiguration({ ...named, PIP_NO_INDEX: '1' })).toMatchObject({ indexes: [], links: ['/wheels'] });
});

it('finds nothing where nothing is configured', () => {
  const { indexes, links } = readPipConfiguration({ HOME: home, PIP_CONFIG_FILE: '/dev/null' });
  expect({ indexes, links }).toEqual({ indexes: [], links: [] });
});
