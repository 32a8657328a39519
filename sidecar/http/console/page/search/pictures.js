// A picture to search by: dropped on the page, pasted into it, or chosen.

import { useCallback, useEffect, useState } from "../html.js";

const DEFAULT_NAME = "picture";

function asDataUri(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

function holdsFiles(transfer) {
  return [...transfer.types].includes("Files");
}

// Programs that copy a text, such as spreadsheets, add a picture of it.
function holdsText(transfer) {
  return [...(transfer?.types ?? [])].includes("text/plain");
}

function pictureIn(transfer) {
  return [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/"));
}

export function useDroppedPicture(onPicture) {
  const [isOver, setOver] = useState(false);
  const [problem, setProblem] = useState(null);
  const read = useCallback(async (file) => {
    if (!file?.type.startsWith("image/")) {
      setProblem("That is no picture: a PNG, JPEG or WebP is searched by.");
      return;
    }
    setProblem(null);
    try {
      onPicture({ name: file.name || DEFAULT_NAME, address: await asDataUri(file) });
    } catch {
      setProblem(`The browser cannot read “${file.name || DEFAULT_NAME}”: it may be gone, or too large.`);
    }
  }, []);
  useEffect(() => {
    const onPaste = (event) => {
      const file = pictureIn(event.clipboardData);
      if (file && !holdsText(event.clipboardData)) read(file);
    };
    const onDragOver = (event) => {
      if (!holdsFiles(event.dataTransfer)) return;
      event.preventDefault();
      setOver(true);
    };
    const onDragLeave = (event) => {
      if (event.relatedTarget === null) setOver(false);
    };
    const onDrop = (event) => {
      setOver(false);
      if (!holdsFiles(event.dataTransfer)) return; // a text goes where it is dropped
      event.preventDefault();
      read(pictureIn(event.dataTransfer) ?? event.dataTransfer.files[0]);
    };
    const listeners = { paste: onPaste, dragover: onDragOver, dragleave: onDragLeave, drop: onDrop };
    for (const [name, listener] of Object.entries(listeners)) addEventListener(name, listener);
    return () => {
      for (const [name, listener] of Object.entries(listeners)) removeEventListener(name, listener);
    };
  }, []);
  return { isOver, problem, read, forget: () => setProblem(null) };
}
