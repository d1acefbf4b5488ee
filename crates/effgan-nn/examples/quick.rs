use effgan_nn::{gan::*, networks::*, *};
#[global_allocator]
static A: mimalloc::MiMalloc = mimalloc::MiMalloc;
fn main() {
    let base: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let threads: usize = std::env::args().nth(2).unwrap().parse().unwrap();
    let net = Network::new(
        NetworkConfig::Dcgan(DcganConfig { latent_dim: 100, base_channels: base, norm: NormKind::Batch }),
        [1, 28, 28],
    )
    .unwrap();
    parallel_map(threads, threads, |i| {
        let s = Streams::of_client(1, 1, &i.to_string());
        let p = init(&net.generator_tensors(), &mut s.at(Purpose::Init, 0))
            .named_under("generator")
            .merged_with(init(&net.discriminator_tensors(), &mut s.at(Purpose::Init, 1)).named_under("discriminator"));
        let mut g = Gan::new(&net, &p, Adam { learning_rate: 2e-4, beta1: 0.5 }).unwrap();
        let mut t = std::time::Instant::now();
        for k in 0..25u64 {
            if k == 5 {
                t = std::time::Instant::now();
            }
            let l;
            (g, l) = g.step(
                s.normal(Purpose::Cohort, k, 64 * 784).iter().map(|x| x.tanh()).collect(),
                s.normal(Purpose::Latent, k, 6400),
            );
            if k % 8 == 0 {
                println!("{k} {l:?}");
            }
        }
        println!("{:.1} ms/step", t.elapsed().as_secs_f64() / 20. * 1e3);
        let t = std::time::Instant::now();
        let r = recompute_statistics(&net, &g.generator()).unwrap();
        println!("recompute {:.1} ms", t.elapsed().as_secs_f64() * 1e3);
        let t = std::time::Instant::now();
        let sm = Sampler::new(&net, &r).unwrap();
        for k in 0..20 {
            sm.draw(s.normal(Purpose::Latent, k, 6400));
        }
        println!("sample {:.1} ms/batch", t.elapsed().as_secs_f64() / 20. * 1e3);
    });
}
