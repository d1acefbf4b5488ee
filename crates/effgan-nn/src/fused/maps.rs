//! Feature maps as images and back; views wherever the device's blocks allow it.

use burn::tensor::Tensor;

use super::MapShape;
use crate::Device;

/// Images `[n, c, h, w]` as feature maps. Images have fewer channels than a block, so that the channels of a pixel
/// become contiguous.
pub(crate) fn map_of_images(images: Tensor<4>) -> Tensor<4> {
    let [n, channels, height, width] = images.dims();
    images.reshape([n, channels, 1, height * width]).permute([0, 2, 3, 1])
}

/// Feature maps of shape `map` as `[n, c, h, w]`.
pub(crate) fn images_of_map(maps: Tensor<4>, map: &MapShape) -> Tensor<4> {
    let [n, blocks, ..] = maps.dims();
    let MapShape { channels, height, width } = *map;
    if blocks == 1 {
        // A view, for devices whose operations take the channels of a pixel side by side.
        return maps.reshape([n, height, width, channels]).permute([0, 3, 1, 2]);
    }
    maps.permute([0, 1, 3, 2]).reshape([n, channels, height, width])
}

/// The outputs `[n, values of the map]` of a linear layer as feature maps of shape `map` on `device`.
pub(crate) fn map_of_rows(rows: Tensor<2>, map: &MapShape, device: Device) -> Tensor<4> {
    let (n, block) = (rows.dims()[0], device.block(map));
    rows.reshape([n, map.channels / block, map.pixels(), block])
}

/// Images `[n, c, h, w]` as feature maps on `device`.
pub(super) fn to_map(x: Tensor<4>, map: &MapShape, device: Device) -> Tensor<4> {
    let (n, block) = (x.dims()[0], device.block(map));
    if block == map.channels {
        return x.permute([0, 2, 3, 1]).reshape([n, 1, map.pixels(), block]);
    }
    x.reshape([n, map.channels / block, block, map.pixels()]).permute([0, 1, 3, 2])
}
