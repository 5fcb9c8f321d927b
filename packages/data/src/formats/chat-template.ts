import { type ChatTemplate, MESSAGE_TEXT } from '@weft/config';

export const CHAT_ROLES = ['system', 'user', 'assistant'] as const;
export type ChatRole = (typeof CHAT_ROLES)[number];

/** What one side of a conversation says: texts and images in reading order. */
export interface ChatTurn<Image> {
  readonly role: ChatRole;
  readonly content: readonly ({ readonly text: string } | { readonly image: Image })[];
}

/** A part of a conversation as the model reads it. `end` is the token that ends a text, which closes every answer. */
export type ChatPart<Image> =
  | { readonly kind: 'text'; readonly text: string; readonly isAnswer: boolean }
  | { readonly kind: 'image'; readonly image: Image }
  | { readonly kind: 'end' };

/**
 * A conversation in the words of a template. Texts that follow one another are one part unless an answer begins or ends
 * between them, so that a prompt is tokenized in the same way whether or not its answer is there.
 */
export function chatParts<Image>(template: ChatTemplate, turns: readonly ChatTurn<Image>[]): ChatPart<Image>[] {
  const { systemMessage } = template;
  const system: ChatTurn<Image> = { role: 'system', content: [{ text: systemMessage }] };
  const all = systemMessage === '' || turns[0]?.role === 'system' ? turns : [system, ...turns];
  const parts = all.flatMap(({ role, content }): ChatPart<Image>[] => {
    const isAnswer = role === 'assistant';
    const { before, after } = around(template, role);
    return [
      { kind: 'text', text: before, isAnswer: false },
      ...content.map(
        (each): ChatPart<Image> =>
          'text' in each ? { kind: 'text', text: each.text, isAnswer } : { kind: 'image', ...each },
      ),
      { kind: 'text', text: after, isAnswer },
      ...(isAnswer ? [{ kind: 'end' } as const] : []),
    ];
  });
  return joined(parts);
}

/** What the model reads before it answers the last turn. */
export function chatPrompt<Image>(template: ChatTemplate, turns: readonly ChatTurn<Image>[]): ChatPart<Image>[] {
  const { before } = around(template, 'assistant');
  return joined([...chatParts(template, turns), { kind: 'text', text: before, isAnswer: false }]);
}

/** The texts of a template before and behind a message. */
function around(template: ChatTemplate, role: ChatRole): { readonly before: string; readonly after: string } {
  const [before = '', after = ''] = template[role].split(MESSAGE_TEXT);
  return { before, after };
}

function joined<Image>(parts: readonly ChatPart<Image>[]): ChatPart<Image>[] {
  const result: ChatPart<Image>[] = [];
  for (const part of parts) {
    const last = result.at(-1);
    if (part.kind === 'text' && part.text === '') continue;
    if (part.kind === 'text' && last?.kind === 'text' && last.isAnswer === part.isAnswer)
      result[result.length - 1] = { ...last, text: last.text + part.text };
    else result.push(part);
  }
  return result;
}
