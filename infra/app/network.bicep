// Optional: a network of the app's own or a given one, private endpoints, and a fixed address to go out from.

param name string
param endpointPrefix string
param location string
param tags object
@description('Subnet of a network that is already there, delegated to the app\'s plan; empty: a new network.')
param existingAppSubnetId string
@description('Its subnet for private endpoints.')
param existingEndpointSubnetId string
@description('Resource group, by its id, of private DNS zones that are already there and linked; empty: new ones.')
param existingZonesId string
@description('What delegates the new subnet: the plan decides.')
param delegation string
param vaultId string
param storageAccountId string
param withEndpoints bool
param withFixedAddress bool

var hasOwnNetwork = empty(existingAppSubnetId)
var hasOwnZones = empty(existingZonesId)
var appSubnet = 'app'
var endpointSubnet = 'endpoints'
// Private DNS zones carry the names of the public ones; the suffixes differ between clouds.
var vaultZone = 'privatelink${replace(environment().suffixes.keyvaultDns, '.vault.', '.vaultcore.')}'
var endpoints = withEndpoints
  ? [
      { name: 'vault', target: vaultId, group: 'vault', zone: vaultZone }
      {
        name: 'blob'
        target: storageAccountId
        group: 'blob'
        zone: 'privatelink.blob.${environment().suffixes.storage}'
      }
      {
        name: 'queue'
        target: storageAccountId
        group: 'queue'
        zone: 'privatelink.queue.${environment().suffixes.storage}'
      }
    ]
  : []
var endpointSubnetId = hasOwnNetwork ? '${network.id}/subnets/${endpointSubnet}' : existingEndpointSubnetId

resource address 'Microsoft.Network/publicIPAddresses@2026-01-01' = if (withFixedAddress && hasOwnNetwork) {
  name: '${name}-out'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIPAllocationMethod: 'Static'
  }
}

resource gateway 'Microsoft.Network/natGateways@2026-01-01' = if (withFixedAddress && hasOwnNetwork) {
  name: '${name}-out'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIpAddresses: [
      { id: address.id }
    ]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2026-01-01' = if (hasOwnNetwork) {
  name: name
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: ['10.0.0.0/24']
    }
    subnets: [
      {
        name: appSubnet
        properties: {
          addressPrefix: '10.0.0.0/26'
          natGateway: withFixedAddress ? { id: gateway.id } : null
          delegations: [
            {
              name: 'app'
              properties: {
                serviceName: delegation
              }
            }
          ]
        }
      }
      {
        name: endpointSubnet
        properties: {
          addressPrefix: '10.0.0.64/27'
          privateEndpointNetworkPolicies: 'Disabled'
        }
      }
    ]
  }
}

resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' = [
  for endpoint in endpoints: if (hasOwnZones) {
    name: endpoint.zone
    location: 'global'
    tags: tags
  }
]

// Names without a record here are asked for outside: another vault's, with an endpoint elsewhere or none, still resolves.
resource link 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [
  for (endpoint, index) in endpoints: if (hasOwnZones) {
    parent: zone[index]
    name: name
    location: 'global'
    properties: {
      registrationEnabled: false
      resolutionPolicy: 'NxDomainRedirect'
      virtualNetwork: {
        id: first(split(endpointSubnetId, '/subnets/'))
      }
    }
  }
]

resource privateEndpoint 'Microsoft.Network/privateEndpoints@2026-01-01' = [
  for endpoint in endpoints: {
    name: '${endpointPrefix}${endpoint.name}'
    location: location
    tags: tags
    properties: {
      subnet: {
        id: endpointSubnetId
      }
      privateLinkServiceConnections: [
        {
          name: endpoint.name
          properties: {
            privateLinkServiceId: endpoint.target
            groupIds: [endpoint.group]
          }
        }
      ]
    }
  }
]

resource zoneGroup 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2026-01-01' = [
  for (endpoint, index) in endpoints: {
    parent: privateEndpoint[index]
    name: 'default'
    properties: {
      privateDnsZoneConfigs: [
        {
          name: endpoint.name
          properties: {
            privateDnsZoneId: hasOwnZones
              ? zone[index].id
              : '${existingZonesId}/providers/Microsoft.Network/privateDnsZones/${endpoint.zone}'
          }
        }
      ]
    }
  }
]

output appSubnetId string = hasOwnNetwork ? '${network.id}/subnets/${appSubnet}' : existingAppSubnetId
output endpointSubnetId string = endpointSubnetId
output networkId string = first(split(endpointSubnetId, '/subnets/'))
output outgoingAddress string = (withFixedAddress && hasOwnNetwork) ? address!.properties.ipAddress : ''
