import { WeftError } from '@weft/common';
import { expect, it } from 'vitest';
import { parseAddress } from './address.js';

it.each([
  ['s3://bucket/a/b/', { scheme: 's3', root: 'bucket', key: 'a/b' }],
  ['https://host:8443', { scheme: 'https', root: 'host:8443', key: '' }],
  ['hf://datasets/o/n@v1/train/a.tar', { scheme: 'hf', root: 'datasets/o/n@v1', key: 'train/a.tar' }],
])('takes %s apart', (text, expected) => {
  expect(parseAddress(text)).toEqual(expected);
});

it.each([
  'hf://hf_SECRET@datasets/o/n',
  'hf://hf_SECRET@datasets',
  's3://key:SECRET@bucket/a',
  'https://me:SECRET@host/a',
  'https://host/a?token=SECRET',
])('refuses %s without repeating it', (text) => {
  const thrown = (() => {
    try {
      return parseAddress(text);
    } catch (error) {
      return error;
    }
  })();
  expect(thrown).toMatchObject({ code: 'invalid_argument' });
  const { message, hint } = WeftError.from(thrown);
  expect(message).toContain('which may be a secret');
  expect(`${message} ${hint}`).not.toContain('SECRET');
});
