// A kubeconfig out of a file: chosen or dropped, read here, shown in the field.
const field = document.querySelector('#register textarea[name="kubeconfig"]');
const MAX_BYTES = 1 << 20;

async function readFile(file) {
  if (file && file.size <= MAX_BYTES) field.value = await file.text();
}

document.getElementById("file").addEventListener("change", (event) => readFile(event.target.files[0]));
field.addEventListener("dragover", (event) => event.preventDefault());
field.addEventListener("drop", (event) => {
  if (!event.dataTransfer.files.length) return;
  event.preventDefault();
  readFile(event.dataTransfer.files[0]);
});
