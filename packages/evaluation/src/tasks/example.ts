/** An image of an example: a file of a folder, a member of an archive, or one of the training data. */
export interface ImageFile {
  /** For messages. */
  readonly name: string;
  /** The bytes of the file. @throws WeftError naming it. */
  read(): Promise<Uint8Array>;
}

interface ExampleBase {
  /** Unique within the task. */
  readonly id: string;
  /** The file and the entry it comes from, for messages. */
  readonly where: string;
}

/** An image, and what people wrote about it. */
export interface CaptionExample extends ExampleBase {
  readonly kind: 'caption';
  readonly image: ImageFile;
  /** At least one. */
  readonly references: readonly string[];
}

/** A question about an image, and what people answered. */
export interface QuestionExample extends ExampleBase {
  readonly kind: 'question';
  readonly image: ImageFile;
  readonly question: string;
  /** One for each annotator, at least one. */
  readonly answers: readonly string[];
}

/** A text, and several that may follow it. */
export interface ChoiceExample extends ExampleBase {
  readonly kind: 'multipleChoice';
  readonly context: string;
  /** At least two; each begins as it continues the context, mostly with a space. */
  readonly choices: readonly string[];
  /** The number of the right one. */
  readonly right: number;
}

/** A text whose last word follows from the rest. */
export interface LastWordExample extends ExampleBase {
  readonly kind: 'lastWord';
  readonly context: string;
  /** With the space before it. */
  readonly word: string;
}

export type ImageExample = CaptionExample | QuestionExample;
export type TextExample = ChoiceExample | LastWordExample;
export type Example = ImageExample | TextExample;
