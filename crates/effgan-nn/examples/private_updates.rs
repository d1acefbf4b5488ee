//! Private updates of a discriminator on given images, for `scripts/dp_reference.py`.
//!
//! ```text
//! cargo run --release -p effgan-nn --example private_updates -- FOLDER BASE BATCH CLIP NOISE
//! ```
//!
//! FOLDER has `start.safetensors`, the networks of a DCGAN without normalisation, and `seen.safetensors`: `sizes` `[updates]`, how many real
//! images each update sees, all of these `images` `[n, 1, 28, 28]` one after the other, and `z` `[updates · BATCH, 100]`. The generator stays as
//! it is. Writes the discriminators after the first and the last update to `first.safetensors` and `last.safetensors`, and the seconds of each
//! update to `seconds.txt`.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use effgan_nn::gan::{DpSgd, Gan, PendingLosses, RealImages, SecretRng, TrainConfig};
use effgan_nn::networks::{DcganConfig, Network, NetworkConfig, NormKind};
use effgan_nn::{Adam, Device, checkpoint};

const LATENT_DIM: usize = 100;
const IMAGE_LEN: usize = 28 * 28;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, base, batch, clip, noise] = &arguments[..] else { return Err("FOLDER BASE BATCH CLIP NOISE".into()) };
    let (folder, base_channels) = (PathBuf::from(folder), base.parse()?);
    let dp = DpSgd { clip: clip.parse()?, noise_multiplier: noise.parse()?, batch: batch.parse()? };
    let config = DcganConfig { latent_dim: LATENT_DIM, base_channels, norm: NormKind::None, conditional: false };
    let network = Network::of_classes(NetworkConfig::Dcgan(config), [1, 28, 28], 1)?;
    let adam = |learning_rate| Adam { learning_rate, beta1: 0.5 };
    let train = TrainConfig { generator: adam(0.0), ..TrainConfig::new(adam(2e-4)) };
    let start = checkpoint::load(&folder.join("start.safetensors"))?;
    let mut gan = Gan::new(&network, &start, train, Device::cpu()?)?;

    let seen = checkpoint::load(&folder.join("seen.safetensors"))?;
    let [mut images, mut z] = ["images", "z"].map(|name| seen.get(name).map(effgan_nn::Array::values));
    let (images, z) =
        (images.as_mut().map_err(|error| error.to_string())?, z.as_mut().map_err(|error| error.to_string())?);
    let (mut rng, mut seconds) = (SecretRng::from_system()?, String::new());
    for (i, size) in seen.get("sizes")?.values().iter().enumerate() {
        let size = *size as usize;
        let (of_update, rest) = images.split_at(size * IMAGE_LEN);
        let (latent, later) = z.split_at(dp.batch * LATENT_DIM);
        (*images, *z) = (rest, later);
        let real = RealImages { images: of_update.to_vec(), labels: vec![0; size] };
        let started = Instant::now();
        let losses;
        (gan, losses) = gan.private_step(&[real], latent.to_vec(), &[], &dp, &mut rng)?;
        PendingLosses::read(vec![losses])?;
        seconds += &format!("{:.6}\n", started.elapsed().as_secs_f64());
        if i == 0 {
            save(&gan, &folder.join("first.safetensors"))?;
        }
    }
    fs::write(folder.join("seconds.txt"), seconds)?;
    save(&gan, &folder.join("last.safetensors"))
}

fn save(gan: &Gan, path: &Path) -> Result<(), Box<dyn Error>> {
    Ok(checkpoint::save(path, &gan.params()?.under("discriminator"))?)
}
