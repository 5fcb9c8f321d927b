import { readTarball } from './read-tarball.js';

/** An address as the package keeps it, one JSON file each. */
interface Address {
  readonly year: number;
  readonly name: string;
  readonly text: string;
}

/** Text documents: the State of the Union addresses, oldest first. */
export async function addresses(
  tarball: string,
): Promise<readonly { readonly title: string; readonly text: string }[]> {
  const found: { file: string; title: string; text: string }[] = [];
  for await (const { name, content } of readTarball(tarball, (name) => /^data\/\d{4}_.*\.json$/.test(name))) {
    const address = JSON.parse(content.toString('utf8')) as Address;
    found.push({ file: name, title: `State of the Union, ${address.year}, ${address.name}`, text: address.text });
  }
  return found.sort((a, b) => (a.file < b.file ? -1 : 1)).map(({ title, text }) => ({ title, text }));
}
