import type { SampleMembers } from './write-shards.js';

/** A captioned sample of the demo. */
export interface PictureSample {
  readonly key: string;
  readonly members: SampleMembers;
}

/** A conversation as LLaVA writes one. */
export interface DemoConversation {
  readonly id: string;
  readonly image?: string | readonly string[];
  readonly conversations: readonly { readonly from: 'human' | 'gpt'; readonly value: string }[];
}

/** Conversations and the pictures that they are about. */
export interface DemoConversations {
  readonly conversations: readonly DemoConversation[];
  readonly pictures: readonly PictureSample[];
}

/** Conversations to train on, and others about pictures that these do not show. */
export const DEMO_CONVERSATIONS = { train: 200, heldOut: 40 } as const;

/**
 * Questions about pictures of emoji, whose answers are in their captions: what a picture shows, and to which group it belongs.
 * Of ten conversations seven are about a picture, two are text alone, and one is about two pictures. Skin tones are left out.
 *
 * @param samples the captioned samples of the demo, shuffled
 */
export async function demoConversations(
  samples: AsyncIterable<PictureSample>,
): Promise<Readonly<Record<keyof typeof DEMO_CONVERSATIONS, DemoConversations>>> {
  const { train, heldOut } = DEMO_CONVERSATIONS;
  const pictures: Picture[] = [];
  const names = new Set<string>();
  for await (const sample of samples) {
    const picture = pictureOf(sample);
    if (picture.name.includes('skin tone') || names.has(picture.name)) continue;
    names.add(picture.name);
    pictures.push(picture);
    if (pictures.length === train + heldOut) break;
  }
  return { train: about(pictures.slice(0, train)), heldOut: about(pictures.slice(train)) };
}

interface Picture extends PictureSample {
  readonly name: string;
  readonly group: string;
}

function pictureOf({ key, members }: PictureSample): Picture {
  const description = JSON.parse(String(members.find(([extension]) => extension === 'json')?.[1])) as {
    readonly name: string;
    readonly category: string;
  };
  return {
    ...{ key, name: description.name, group: description.category },
    members: members.filter(([extension]) => extension === 'png'),
  };
}

function about(pictures: readonly Picture[]): DemoConversations {
  const conversations = pictures.map((picture, i): DemoConversation => {
    const { key: id, name, group } = picture;
    if (i % 5 === 4) return { id, conversations: [human(`Which group is ${name} of?`), gpt(group)] };
    if (i % 10 === 7) {
      // A second picture, before the first or behind it.
      const other = pictures[(i + 1) % pictures.length] ?? picture;
      const isFirst = i % 20 === 7;
      const image = (isFirst ? [picture, other] : [other, picture]).map(fileOf);
      const question = `<image>\n<image>\nWhich of them is ${name}?`;
      return { id, image, conversations: [human(question), gpt(isFirst ? 'the first' : 'the second')] };
    }
    return {
      ...{ id, image: fileOf(picture) },
      conversations: [human('<image>\nWhat is it?'), gpt(name), human('Which group is it of?'), gpt(group)],
    };
  });
  const shown = new Set(conversations.flatMap(({ image = [] }) => image));
  return { conversations, pictures: pictures.filter((picture) => shown.has(fileOf(picture))) };
}

const fileOf = ({ key }: Picture) => `${key}.png`;
const human = (value: string) => ({ from: 'human', value }) as const;
const gpt = (value: string) => ({ from: 'gpt', value }) as const;
