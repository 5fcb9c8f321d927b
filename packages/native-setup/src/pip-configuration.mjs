// Where pip would download from: its environment variables and configuration files, read without pip.
// The later of these wins: system, user, virtual environment, PIP_CONFIG_FILE, environment ("Configuration" in pip's documentation).

import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/**
 * @typedef {object} PipConfiguration
 * @property {readonly string[]} indexes base addresses of package indexes, the main one first
 * @property {readonly string[]} links folders or pages that hold wheels
 * @property {string | undefined} certificate path of a bundle of certificate authorities
 */

/**
 * @param {NodeJS.ProcessEnv} environment
 * @returns {PipConfiguration}
 */
export function readPipConfiguration(environment) {
  /** @type {Map<string, string>} */
  const settings = new Map();
  for (const path of configurationFiles(environment)) {
    for (const [name, value] of parse(readQuietly(path))) settings.set(name, value);
  }
  for (const name of ['index-url', 'extra-index-url', 'find-links', 'no-index', 'cert']) {
    const value = environment[`PIP_${name.toUpperCase().replaceAll('-', '_')}`];
    if (value) settings.set(name, value);
  }
  const words = (/** @type {string} */ name) => (settings.get(name) ?? '').split(/\s+/).filter((word) => word !== '');
  const offline = ['1', 'true', 'yes', 'on'].includes((settings.get('no-index') ?? '').toLowerCase());
  return {
    indexes: offline ? [] : [...words('index-url'), ...words('extra-index-url')],
    links: words('find-links'),
    certificate: settings.get('cert'),
  };
}

/** @param {NodeJS.ProcessEnv} environment */
function configurationFiles(environment) {
  const home = environment.HOME ?? homedir();
  const named = environment.PIP_CONFIG_FILE;
  if (named === '/dev/null') return [];
  return [
    '/etc/xdg/pip/pip.conf',
    '/etc/pip.conf',
    join(home, '.pip', 'pip.conf'),
    join(environment.XDG_CONFIG_HOME ?? join(home, '.config'), 'pip', 'pip.conf'),
    ...(environment.VIRTUAL_ENV ? [join(environment.VIRTUAL_ENV, 'pip.conf')] : []),
    ...(named ? [named] : []),
  ];
}

/** @param {string} path */
function readQuietly(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/**
 * The `[global]` and `[download]` sections of an INI file; a value may go on in indented lines.
 *
 * @param {string} text
 * @returns {Map<string, string>}
 */
function parse(text) {
  const settings = new Map();
  let section = '';
  let last = '';
  for (const line of text.split('\n')) {
    if (/^\s*([#;]|$)/.test(line)) continue;
    const header = /^\[(.+)\]/.exec(line);
    const setting = /^([\w-]+)\s*[=:]\s*(.*)$/.exec(line);
    if (header?.[1] !== undefined) {
      section = header[1].trim();
      last = '';
    } else if (section !== 'global' && section !== 'download') {
      last = '';
    } else if (setting?.[1] !== undefined) {
      last = setting[1].toLowerCase().replaceAll('_', '-');
      settings.set(last, (setting[2] ?? '').trim());
    } else if (/^\s/.test(line) && last !== '') {
      settings.set(last, `${settings.get(last)} ${line.trim()}`);
    }
  }
  return settings;
}
