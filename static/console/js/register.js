// A kubeconfig out of a file: chosen or dropped, read here, shown in the field.
const field = document.querySelector('#register textarea[name="kubeconfig"]');
const MOST = 1 << 20;

async function take(file) {
  if (file && file.size <= MOST) field.value = await file.text();
}

document.getElementById("file").addEventListener("change", (event) => take(event.target.files[0]));
field.addEventListener("dragover", (event) => event.preventDefault());
field.addEventListener("drop", (event) => {
  if (!event.dataTransfer.files.length) return;
  event.preventDefault();
  take(event.dataTransfer.files[0]);
});
