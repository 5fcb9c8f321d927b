// Downloads a wheel with Node alone, from a package index of the kind pip uses: the "simple repository" in HTML
// (PEP 503) or JSON (PEP 691), or a folder or page of wheels (pip's find-links).

import { createReadStream, createWriteStream, existsSync, readFileSync } from 'node:fs';
import { get as getHttp } from 'node:http';
import { get as getHttps } from 'node:https';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { rootCertificates } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { withoutPasswords } from './error.mjs';

/** @import { IncomingMessage } from 'node:http' */
/** @import { PipConfiguration } from './pip-configuration.mjs' */
/** @import { Wheel } from './types.mjs' */

const ACCEPT = 'application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1';
const IDLE_TIMEOUT_MS = 60_000;
const MAX_REDIRECTS = 5;
const MAX_PAGE_BYTES = 64 * 1024 * 1024;

/**
 * Downloads one wheel to a file.
 *
 * @param {PipConfiguration} configuration
 * @param {Wheel} wheel
 * @param {string} destination
 * @param {(bytes: number) => void} onBytes how much is there so far
 * @returns {Promise<void>}
 * @throws {Error} naming the locations looked at when none has the wheel
 */
export async function downloadFromIndex(configuration, wheel, destination, onBytes) {
  const certificates = readCertificates(configuration.certificate);
  /** @type {string[]} */
  const tried = [];
  const locations = [
    ...configuration.links,
    ...configuration.indexes.map((index) => projectPage(index, wheel.project)),
  ];
  for (const location of locations) {
    try {
      const source = await locate(location, wheel.file, certificates);
      if (source === undefined) {
        tried.push(`${location} lacks it`);
        continue;
      }
      if (typeof source === 'string') await pipeline(createReadStream(source), createWriteStream(destination));
      else await download(source, destination, certificates, onBytes);
      return;
    } catch (error) {
      tried.push(`${location}: ${error instanceof Error ? error.message : error}`);
    }
  }
  throw new Error(withoutPasswords(`${wheel.file} could not be had: ${tried.join('; ')}`));
}

/**
 * @param {string} index
 * @param {string} project
 */
const projectPage = (index, project) =>
  `${index.replace(/\/+$/, '')}/${project.toLowerCase().replaceAll(/[-_.]+/g, '-')}/`;

/**
 * Finds a file by its name in a folder, or by the links of a page.
 *
 * @param {string} location
 * @param {string} file
 * @param {string[] | undefined} certificates
 * @returns {Promise<URL | string | undefined>} an address, or a local path
 */
async function locate(location, file, certificates) {
  if (!/^https?:/i.test(location)) {
    const folder = location.startsWith('file:') ? fileURLToPath(location) : location;
    const path = join(folder, file);
    return existsSync(path) ? path : undefined;
  }
  const { response, url } = await request(new URL(location), certificates);
  if (response.statusCode === 404) {
    response.resume();
    return undefined;
  }
  const page = await readPage(response);
  const isJson = (response.headers['content-type'] ?? '').includes('json');
  const address = isJson ? addressInJson(page, file) : addressInHtml(page, file);
  if (address === undefined) return undefined;
  const source = new URL(address, url);
  const { host, username, password } = new URL(location);
  return source.host === host ? Object.assign(source, { username, password }) : source;
}

/**
 * @param {string} page
 * @param {string} file
 * @returns {string | undefined}
 */
function addressInJson(page, file) {
  /** @type {{ files?: { filename: string; url: string }[] }} */
  const { files = [] } = JSON.parse(page);
  return files.find((candidate) => candidate.filename === file)?.url;
}

/**
 * @param {string} page
 * @param {string} file
 * @returns {string | undefined}
 */
function addressInHtml(page, file) {
  for (const [, quoted, bare] of page.matchAll(/<a\s[^>]*?href\s*=\s*(?:"([^"]*)"|'([^']*)')/gi)) {
    const address = (quoted ?? bare ?? '').replaceAll('&amp;', '&');
    const path = address.split('#')[0]?.split('?')[0] ?? '';
    if (decodeURIComponent(path.split('/').at(-1) ?? '') === file) return address;
  }
  return undefined;
}

/**
 * @param {URL} address
 * @param {string} destination
 * @param {string[] | undefined} certificates
 * @param {(bytes: number) => void} onBytes
 */
async function download(address, destination, certificates, onBytes) {
  const { response } = await request(address, certificates);
  let bytes = 0;
  response.on('data', (chunk) => {
    bytes += chunk.length;
    onBytes(bytes);
  });
  await pipeline(response, createWriteStream(destination));
  const expected = response.headers['content-length'];
  if (expected !== undefined && bytes !== Number(expected))
    throw new Error(`the download broke off after ${bytes} bytes`);
}

/**
 * A GET that follows redirects and sends the password of an address as a header, as browsers do not.
 *
 * @param {URL} address
 * @param {string[] | undefined} certificates
 * @returns {Promise<{ response: IncomingMessage; url: URL }>} a 200 or a 404
 */
async function request(address, certificates) {
  let url = address;
  const authority = { host: address.host, name: address.username, password: address.password };
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
    const response = await get(url, certificates, url.host === authority.host ? authority : undefined);
    const { statusCode = 0 } = response;
    const { location } = response.headers;
    if (statusCode === 200 || statusCode === 404) return { response, url };
    response.resume();
    if (statusCode < 300 || statusCode > 399 || location === undefined) throw new Error(`answered ${statusCode}`);
    url = new URL(location, url);
  }
  throw new Error('redirects in a circle');
}

/**
 * @param {URL} url
 * @param {string[] | undefined} certificates
 * @param {{ name: string; password: string } | undefined} authority
 * @returns {Promise<IncomingMessage>}
 */
function get(url, certificates, authority) {
  /** @type {Record<string, string>} */
  const headers = { accept: ACCEPT, 'user-agent': 'weft' };
  if (authority?.name) {
    const pair = `${decodeURIComponent(authority.name)}:${decodeURIComponent(authority.password)}`;
    headers.authorization = `Basic ${Buffer.from(pair).toString('base64')}`;
  }
  const options = { headers, timeout: IDLE_TIMEOUT_MS, ...(certificates ? { ca: certificates } : {}) };
  return new Promise((resolve, reject) => {
    const call = url.protocol === 'https:' ? getHttps(url, options, resolve) : getHttp(url, options, resolve);
    call.on('timeout', () => call.destroy(new Error(`was silent for ${IDLE_TIMEOUT_MS / 1000} s`)));
    call.on('error', reject);
  });
}

/** @param {IncomingMessage} response */
async function readPage(response) {
  let page = '';
  for await (const chunk of response.setEncoding('utf8')) {
    page += chunk;
    if (page.length > MAX_PAGE_BYTES) throw new Error('sent an endless page');
  }
  return page;
}

/**
 * @param {string | undefined} path
 * @returns {string[] | undefined}
 */
function readCertificates(path) {
  if (path === undefined) return undefined;
  try {
    return [...rootCertificates, readFileSync(path, 'utf8')];
  } catch {
    return undefined;
  }
}
