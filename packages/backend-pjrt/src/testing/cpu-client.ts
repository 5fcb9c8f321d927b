import { Client } from '../native/client.js';
import { loadPlugin, type Plugin } from '../native/plugin.js';
import { installPlugin } from '../setup/plugin.js';

/** The pinned CPU plugin, fetched on first use. */
export async function cpuPlugin(): Promise<Plugin> {
  const { path } = await installPlugin({ platform: 'cpu' });
  return loadPlugin(path);
}

/** A client of it with one device; the plugin's default is four. */
export async function cpuClient(): Promise<Client> {
  return Client.open(await cpuPlugin(), { cpu_device_count: 1 });
}
