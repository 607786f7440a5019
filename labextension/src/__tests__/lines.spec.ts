import { Lines, plain } from '../lines';

/** All that is kept, as one text. */
const text = (lines: Lines) => lines.blocks.map(block => block.text).join('');

describe('plain', () => {
  it.each([
    ['a line', 'a line'],
    ['with an end of Windows\r', 'with an end of Windows'],
    ['10%\r50%\r100%', '100%'],
    ['\x1b[1;32mgreen\x1b[0m', 'green'],
    ['\x1b]8;;http://x\x07link\x1b]8;;\x07', 'link'],
    ['\x1b]0;title\x1b\\text', 'text'],
    ['\x1b[2K\x1b[1Gagain', 'again']
  ])('%j', (line, expected) => {
    expect(plain(line)).toBe(expected);
  });
});

describe('Lines', () => {
  it('does not care where text is cut', () => {
    const whole = 'one\ntwo\r\nthree 1%\rthree 2%\n\nfive';
    for (let cut = 0; cut <= whole.length; cut++) {
      const lines = new Lines();
      lines.append(whole.slice(0, cut));
      lines.append(whole.slice(cut));
      expect(text(lines)).toBe('one\ntwo\nthree 2%\n\n');
      expect(lines.unfinished).toBe('five');
    }
  });

  it('fills blocks, and leaves full ones as they are', () => {
    const lines = new Lines(100, 3);
    lines.append('0\n1\n2\n3\n');
    const [full] = lines.blocks;
    lines.append('4\n5\n6\n');
    expect(lines.blocks).toEqual([
      { first: 0, count: 3, text: '0\n1\n2\n' },
      { first: 3, count: 3, text: '3\n4\n5\n' },
      { first: 6, count: 1, text: '6\n' }
    ]);
    expect(lines.blocks[0]).toBe(full);
    expect(lines.dropped).toBe(0);
  });

  it('drops the oldest blocks beyond its capacity', () => {
    const lines = new Lines(4, 2);
    for (let line = 0; line < 9; line++) {
      lines.append(`${line}\n`);
      const kept = lines.blocks.reduce((sum, block) => sum + block.count, 0);
      expect(kept).toBeLessThanOrEqual(4);
      expect(lines.dropped + kept).toBe(line + 1);
    }
    expect(text(lines)).toBe('6\n7\n8\n');
    expect(lines.dropped).toBe(6);
  });

  it('keeps one stroke of a progress bar that never ends its line', () => {
    const lines = new Lines();
    for (let percent = 0; percent <= 100; percent++) {
      lines.append(`${percent}%\r`);
    }
    expect(lines.unfinished).toBe('100%');
    lines.append('\ndone\n');
    expect(text(lines)).toBe('100%\ndone\n');
  });

  it('forgets everything when cleared', () => {
    const lines = new Lines(2, 1);
    lines.append('0\n1\n2\n3');
    lines.clear();
    expect([lines.blocks, lines.unfinished, lines.dropped]).toEqual([
      [],
      '',
      0
    ]);
  });
});
