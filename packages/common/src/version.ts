/** The version of this build; coordinator and workers must agree on it. */
export const WEFT_VERSION = '0.1.0';
