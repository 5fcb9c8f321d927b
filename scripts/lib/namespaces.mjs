import { execFileSync, spawnSync } from 'node:child_process';

const ip = (/** @type {string} */ words) => execFileSync('ip', words.split(' '), { stdio: 'pipe' });

/** Whether this process may make network namespaces. */
export function canMakeNamespaces() {
  const name = `weftprobe${process.pid}`;
  const made = spawnSync('ip', ['netns', 'add', name], { stdio: 'ignore' }).status === 0;
  if (made) spawnSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
  return made;
}

/** Hosts as network namespaces on one bridge, whose address is this machine's. */
export class Namespaces {
  #bridge = `weftbr${process.pid % 10_000}`;
  /** @type {string[]} */
  names = [];
  /** How slow links are made; undefined where the kernel has no queue for it. @type {'netem' | 'tbf' | undefined} */
  shaping;
  gateway = '10.78.0.254';

  /** @param {number} count */
  constructor(count) {
    ip(`link add ${this.#bridge} type bridge`);
    ip(`addr add ${this.gateway}/24 dev ${this.#bridge}`);
    ip(`link set ${this.#bridge} up`);
    for (let i = 0; i < count; i++) {
      const name = `weft${process.pid % 10_000}n${i}`;
      this.names.push(name);
      ip(`netns add ${name}`);
      ip(`link add ${name} type veth peer name eth0 netns ${name}`);
      ip(`link set ${name} master ${this.#bridge} up`);
      ip(`netns exec ${name} ip addr add ${this.address(i)}/24 dev eth0`);
      ip(`netns exec ${name} ip link set eth0 up`);
      ip(`netns exec ${name} ip link set lo up`);
    }
    const first = this.names[0] ?? '';
    this.shaping = /** @type {const} */ (['netem', 'tbf']).find((kind) => this.#shape(first, kind));
    this.#unshape(first);
  }

  /** @param {number} index */
  address(index) {
    return `10.78.0.${index + 1}`;
  }

  /** What a command is to begin with to run on this host. @param {number} index */
  inside(index) {
    return ['ip', 'netns', 'exec', this.names[index] ?? ''];
  }

  /** Packets from this host to the address are dropped without a word. @param {number} from @param {string} to */
  block(from, to) {
    spawnSync('ip', ['netns', 'exec', this.names[from] ?? '', 'ip', 'route', 'add', 'blackhole', `${to}/32`]);
  }

  /** @param {number} from @param {string} to */
  unblock(from, to) {
    spawnSync('ip', ['netns', 'exec', this.names[from] ?? '', 'ip', 'route', 'del', 'blackhole', `${to}/32`]);
  }

  /** All that this host sends is late, and some of it lost, where the kernel can do that; otherwise it is slow. @param {number} index */
  slowDown(index) {
    if (this.shaping !== undefined) this.#shape(this.names[index] ?? '', this.shaping);
  }

  /** @param {number} index */
  speedUp(index) {
    this.#unshape(this.names[index] ?? '');
  }

  remove() {
    for (const name of this.names) spawnSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
    spawnSync('ip', ['link', 'del', this.#bridge], { stdio: 'ignore' });
  }

  /** @param {string} name @param {'netem' | 'tbf'} kind */
  #shape(name, kind) {
    const how = kind === 'netem' ? 'netem delay 40ms 20ms loss 1%' : 'tbf rate 20mbit burst 32kbit latency 400ms';
    const words = ['netns', 'exec', name, 'tc', 'qdisc', 'add', 'dev', 'eth0', 'root', ...how.split(' ')];
    return spawnSync('ip', words, { stdio: 'ignore' }).status === 0;
  }

  /** @param {string} name */
  #unshape(name) {
    spawnSync('ip', ['netns', 'exec', name, 'tc', 'qdisc', 'del', 'dev', 'eth0', 'root'], { stdio: 'ignore' });
  }
}
