/** The arrays of a microbatch that say where its images are. */
export type ImageArrays = {
  readonly images_NHWC: Float32Array;
  readonly imageTokenIndex_BT: Int32Array;
};

/**
 * The images of a microbatch, which lie anywhere, one after another in rows that are as many as `room`, as batches of real
 * data hold them. Without room there is no array of images.
 *
 * @param imageCount rows of `images_NHWC`, used or not
 */
export function packImages(
  { images_NHWC, imageTokenIndex_BT }: ImageArrays,
  { imageCount, tokensPerImage, room }: Readonly<Record<'imageCount' | 'tokensPerImage' | 'room', number>>,
): Pick<ImageArrays, 'imageTokenIndex_BT'> & Partial<ImageArrays> {
  const pixels = images_NHWC.length / imageCount;
  const imageOf = (index: number) => Math.ceil(index / tokensPerImage) - 1;
  const used = [...new Set(Array.from(imageTokenIndex_BT, imageOf))].filter((image) => image >= 0);
  const numbers = new Map(used.toSorted((a, b) => a - b).map((image, number) => [image, number]));
  if (numbers.size > room) throw new Error(`${numbers.size} images need more room than ${room}`);
  const packed = new Float32Array(room * pixels);
  for (const [image, number] of numbers)
    packed.set(images_NHWC.subarray(image * pixels, (image + 1) * pixels), number * pixels);
  const moved = imageTokenIndex_BT.map((index) => {
    const image = imageOf(index);
    return index + ((numbers.get(image) ?? image) - image) * tokensPerImage;
  });
  return { imageTokenIndex_BT: moved, ...(room === 0 ? {} : { images_NHWC: packed }) };
}
