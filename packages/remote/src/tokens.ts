import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

export type Environment = Readonly<Record<string, string | undefined>>;

/** From a `#` that begins a word to the end of its line. A password may hold one anywhere, and begin with one. */
const COMMENT = /(?<=^|\s)(?<!\b(?:machine|login|account|password)[ \t]+)#.*$/gm;

/** `Authorization` for a host, from `$NETRC` or `~/.netrc`, where `curl -n` and `wget` look too. */
export async function netrcAuthorization(host: string, env: Environment): Promise<string | undefined> {
  const text = await readFile(env.NETRC || join(homedir(), '.netrc'), 'utf8').catch(() => '');
  const words = text.replace(COMMENT, '').split(/\s+/).filter(Boolean);
  let isOurs = false;
  let login: string | undefined;
  let password: string | undefined;
  for (let at = 0; at < words.length; at++) {
    const word = words[at];
    if (word === 'machine' || word === 'default') {
      if (isOurs && password !== undefined) break;
      isOurs = word === 'default' || words[++at] === host;
    } else if (word === 'login' && isOurs) login = words[++at];
    else if (word === 'password' && isOurs) password = words[++at];
  }
  if (password === undefined) return undefined;
  return `Basic ${Buffer.from(`${login ?? ''}:${password}`).toString('base64')}`;
}

/** The token of a Hugging Face hub, as its own library finds it. */
export async function huggingFaceToken(env: Environment): Promise<string | undefined> {
  const set = env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN;
  if (set) return set.trim();
  const home = env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface');
  const text = await readFile(env.HF_TOKEN_PATH || join(home, 'token'), 'utf8').catch(() => '');
  return text.trim() || undefined;
}
