// Jobs J and K by sharp: as its documentation shows them, and tuned by hand. Speaks the protocol of ../imaging.py:
// a number on stdin runs that many times and answers CPU milliseconds per run; "save DIR" writes the last results.
import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import sharp from "sharp";

const [style, job, path, caption] = process.argv.slice(2);
const input = readFileSync(path);
const png = path.endsWith(".png");
const box = (side) => [side, side, { fit: "inside", withoutEnlargement: true }];
const q80 = { quality: 80, chromaSubsampling: "4:2:0" };
const q90 = { quality: 90, chromaSubsampling: "4:2:0" };

if (style === "tuned") {
  sharp.concurrency(1);
  sharp.cache(false);
}

const label = (width) => ({
  create: { width, height: 23, channels: 3, background: "black" },
});

async function captioned(image, width, height) {
  const text = { text: `<span foreground="white">${caption}</span>`, font: "DejaVu Sans 9", rgba: true, width: width - 8 };
  const field = await sharp(label(width)).composite([{ input: { text }, left: 4, top: 4 }]).png({ compressionLevel: 0 }).toBuffer();
  return image
    .extend({ bottom: 23, background: "black" })
    .composite([{ input: field, left: 0, top: height }])
    .jpeg(q90)
    .toBuffer();
}

async function documentedJ() {
  const meta = await sharp(input).metadata();
  const out = {};
  out["100x100"] = await sharp(input).autoOrient().resize(...box(100)).jpeg(q80).toBuffer();
  out["500x500"] = await sharp(input).autoOrient().resize(...box(500)).jpeg(q80).toBuffer();
  out.gray = await sharp(input).autoOrient().grayscale().jpeg(q80).toBuffer();
  if (caption) out.captioned = await captioned(sharp(input).autoOrient(), meta.width, meta.height);
  return out;
}

async function tunedJ() {
  const out = {};
  await sharp(input, { sequentialRead: true }).metadata();
  const { data, info } = await sharp(input, { sequentialRead: true }).autoOrient().raw().toBuffer({ resolveWithObject: true });
  const raw = { raw: { width: info.width, height: info.height, channels: info.channels } };
  const middle = await sharp(data, raw).resize(...box(500)).raw().toBuffer({ resolveWithObject: true });
  const small = { raw: { width: middle.info.width, height: middle.info.height, channels: middle.info.channels } };
  out["500x500"] = await sharp(middle.data, small).jpeg(q80).toBuffer();
  out["100x100"] = await sharp(middle.data, small).resize(...box(100)).jpeg(q80).toBuffer();
  out.gray = await sharp(data, raw).grayscale().jpeg(q80).toBuffer();
  if (caption) out.captioned = await captioned(sharp(data, raw), info.width, info.height);
  return out;
}

function magic(data, width, height) {
  const total = [0, 0, 0];
  let at = 0;
  for (let row = 1; row <= height; row++) {
    let red = 0, green = 0, blue = 0;
    for (let column = 1; column <= width; column++, at += 3) {
      red += column * data[at];
      green += column * data[at + 1];
      blue += column * data[at + 2];
    }
    total[0] += row * red;
    total[1] += row * green;
    total[2] += row * blue;
  }
  return total.map((sum) => sum / (width * height));
}

async function k() {
  const options = style === "tuned" ? { sequentialRead: true } : {};
  const meta = await sharp(input, options).metadata();
  const side = meta.autoOrient ?? meta;
  const [width, height] = [side.width >> 1, side.height >> 1];
  const upright = sharp(input, options).autoOrient();
  // As the job says it; tuned, the rotation comes after the resize, when there is less to rotate.
  const turned =
    style === "tuned"
      ? upright.resize(width, height, { fit: "fill" }).rotate(270)
      : upright.rotate(270).resize(height, width, { fit: "fill" });
  const { data, info } = await turned.raw().toBuffer({ resolveWithObject: true });
  const numbers = magic(data, info.width, info.height);
  const raw = { raw: { width: info.width, height: info.height, channels: 3 } };
  return { k: await sharp(data, raw).jpeg(q80).toBuffer(), magic: numbers };
}

const run = job === "K" ? k : style === "tuned" ? tunedJ : documentedJ;
let last = await run();
console.log("ready");
for await (const line of createInterface({ input: process.stdin })) {
  const [word, argument] = line.split(" ");
  if (word === "save") {
    for (const [name, data] of Object.entries(last)) if (Buffer.isBuffer(data)) writeFileSync(`${argument}/${name}.jpg`, data);
    console.log("saved");
    continue;
  }
  const before = process.cpuUsage();
  for (let count = Number(word); count > 0; count--) last = await run();
  const { user, system } = process.cpuUsage(before);
  console.log((user + system) / 1000 / Number(word));
}
