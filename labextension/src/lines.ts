/**
 * Text in bounded blocks of lines: the newest lines of a stream of any length.
 *
 * Blocks never change once they are replaced, so a view can tell by identity which
 * ones to draw again.
 */

/** Some consecutive lines, as one text that ends with a newline. */
export interface IBlock {
  /** Number of the block's first line, counted from the first one ever added. */
  readonly first: number;
  readonly count: number;
  readonly text: string;
}

/** ANSI sequences: CSI (colours, cursor) and OSC (titles, links). */
const ANSI = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\))/g;

/** A line as a terminal would leave it: the last overwrite wins, no colours. */
export function plain(line: string): string {
  return line.replace(/\r+$/, '').replace(/^.*\r/s, '').replace(ANSI, '');
}

export class Lines {
  /**
   * @param capacity - lines to keep; whole blocks are dropped beyond it.
   * @param blockSize - lines of a full block.
   */
  constructor(
    readonly capacity = 50_000,
    readonly blockSize = 500
  ) {}

  get blocks(): readonly IBlock[] {
    return this._blocks;
  }

  /** The line that has no end yet. */
  get unfinished(): string {
    return plain(this._unfinished);
  }

  /** How many lines were dropped from the start. */
  get dropped(): number {
    return this._blocks[0]?.first ?? this._added;
  }

  /** Add text that may start and stop anywhere in a line. */
  append(text: string): void {
    const lines = (this._unfinished + text).split('\n');
    const last = lines.pop() ?? '';
    // A progress bar overwrites one line for hours; only its last stroke is kept.
    this._unfinished = last.slice(
      last.replace(/\r+$/, '').lastIndexOf('\r') + 1
    );
    const blocks = [...this._blocks];
    for (let start = 0; start < lines.length;) {
      start += this._fill(blocks, lines, start);
    }
    const excess = Math.ceil(
      (this._added - (blocks[0]?.first ?? 0) - this.capacity) / this.blockSize
    );
    this._blocks = blocks.slice(Math.max(0, excess));
  }

  /** Forget everything. */
  clear(): void {
    this._blocks = [];
    this._unfinished = '';
    this._added = 0;
  }

  /** Move lines into the last block, or a new one; returns how many. */
  private _fill(blocks: IBlock[], lines: string[], start: number): number {
    const last = blocks[blocks.length - 1];
    const open =
      last && last.count < this.blockSize
        ? blocks.pop()!
        : { first: this._added, count: 0, text: '' };
    const some = lines.slice(start, start + this.blockSize - open.count);
    blocks.push({
      first: open.first,
      count: open.count + some.length,
      text: open.text + some.map(line => `${plain(line)}\n`).join('')
    });
    this._added += some.length;
    return some.length;
  }

  private _blocks: readonly IBlock[] = [];
  private _unfinished = '';
  private _added = 0;
}
